//! Tables in object stores, by the protocol that S3 and Google's XML interface share, spoken by a server of this test.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use tiny_http::{Method, Request, Server};

use super::{fails, succeeds};

/// Serves a folder's files as the objects of the bucket `shop`, until the test ends; what was asked of it.
fn serve(folder: PathBuf) -> (String, Arc<Mutex<Vec<String>>>) {
    let server = Server::http("127.0.0.1:0").unwrap();
    let address = format!("http://{}", server.server_addr());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for request in server.incoming_requests() {
            log.lock().unwrap().push(format!("{} {}", request.method(), request.url()));
            answer(request, &folder);
        }
    });
    (address, asked)
}

fn answer(request: Request, folder: &Path) {
    // Google's client writes most marks as %XX.
    let mut parts = request.url().split('%');
    let mut url = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        url.push(u8::from_str_radix(&part[..2], 16).unwrap().into());
        url += &part[2..];
    }
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let key = path.trim_start_matches("/shop").trim_start_matches('/').to_owned();
    if key.is_empty() {
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
        return respond(request, "200 OK", "", list(folder, prefix).as_bytes());
    }
    let Ok(bytes) = fs::read(folder.join(&key)) else { return respond(request, "404 Not Found", "", b"") };
    let range = request.headers().iter().find(|header| header.field.equiv("Range"));
    let range = range.and_then(|header| {
        let (from, to) = header.value.as_str().strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().map_or(bytes.len(), |to| to + 1)))
    });
    let mut headers =
        format!("Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nETag: \"{}\"\r\n", bytes.len());
    match range {
        Some((from, to)) => {
            let to = to.min(bytes.len());
            headers += &format!("Content-Range: bytes {from}-{}/{}\r\n", to - 1, bytes.len());
            respond(request, "206 Partial Content", &headers, &bytes[from..to]);
        }
        None => respond(request, "200 OK", &headers, &bytes),
    }
}

/// Writes a response by hand, for one header that the library keeps to itself: it gives each connection a thread for as long as
/// it is open, and on a busy machine with two cores the next one waited for a minute.
fn respond(request: Request, status: &str, headers: &str, body: &[u8]) {
    let head = *request.method() == Method::Head;
    let start =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n", body.len());
    let mut writer = request.into_writer();
    // Whoever has read enough may be gone.
    let _ = writer.write_all(start.as_bytes());
    let _ = writer.write_all(if head { b"" } else { body });
    let _ = writer.flush();
}

fn list(folder: &Path, prefix: &str) -> String {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    let mut objects = String::new();
    for path in found {
        let key = path.strip_prefix(folder).unwrap().to_str().unwrap();
        if key.starts_with(prefix) {
            let size = fs::metadata(&path).unwrap().len();
            objects += &format!(
                "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"{size}\"</ETag><Size>{size}</Size></Contents>"
            );
        }
    }
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>"
    )
}

#[test]
fn tables_in_stores_are_read_as_files_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeeds(folder, &["data", "synth", "--members", "60", "--visits", "0.3", "--by-month", "--out", "shop"]);
    fs::copy(folder.join("shop/events/2023-05-000.parquet"), folder.join("shop/may.parquet")).unwrap();
    succeeds(folder, &["features", "-p", "shop/tiercast.toml", "-o", "here.parquet"]);
    let toml = fs::read_to_string(folder.join("shop/tiercast.toml")).unwrap();
    let (address, asked) = serve(folder.join("shop"));
    let program = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tiercast"))
            .current_dir(folder)
            .args(args)
            .env("AWS_ENDPOINT_URL", &address)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_SKIP_SIGNATURE", "true")
            .env("AWS_REGION", "us-east-1")
            .env("GOOGLE_BASE_URL", &address)
            .env("GOOGLE_ALLOW_HTTP", "true")
            .env("GOOGLE_SKIP_SIGNATURE", "true")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    for place in ["s3://shop/events/", "s3://shop/events", "gs://shop/events/", "s3://shop/events/*.parquet"]
    {
        fs::write(folder.join("remote.toml"), toml.replace("\"events/\"", &format!("{place:?}"))).unwrap();
        let (done, said) = program(&["features", "-p", "remote.toml", "-o", "there.parquet"]);
        assert!(done, "{place}: {said}");
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        assert!(read("here.parquet") == read("there.parquet"), "{place}");
    }
    assert!(asked.lock().unwrap().iter().any(|line| line.contains("GET /shop/events/2023-05-000.parquet")));
    let (done, said) = program(&["data", "check", "s3://shop/may.parquet"]);
    assert!(done && said.contains("member"), "{said}");
    let path = format!("file://{}", folder.join("shop/may.parquet").display());
    succeeds(folder, &["data", "check", &path]);

    let (done, said) = program(&["data", "check", "s3://shop/nothing/"]);
    assert!(!done && said.contains("has no file that ends in"), "{said}");
    let said = fails(folder, &["data", "check", "ftp://shop/may.parquet"]);
    assert!(said.contains("s3:// or gs://"), "{said}");
    // Nobody listens there.
    let output = Command::new(env!("CARGO_BIN_EXE_tiercast"))
        .current_dir(folder)
        .args(["data", "check", "s3://shop/may.parquet"])
        .envs([
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_SKIP_SIGNATURE", "true"),
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
}
