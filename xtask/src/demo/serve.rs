//! Static files on loopback.

use std::{
    fs::File,
    io::{self, Write},
    net::TcpListener,
    path::{Component, Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, anyhow};
use tiny_http::{Request, Server};

/// Requests that are answered at the same time: a page loads its files side by side.
const THREADS: usize = 4;

/// A folder, and the first part of the address it is served at.
pub(crate) type Mount = (&'static str, PathBuf);

/// A port that is free, and `wanted` if that one is.
pub(crate) fn free_port(wanted: u16) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", wanted))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("no port is free on the loopback interface")?;
    Ok(listener.local_addr()?.port())
}

/// Serves the mounts (the longest prefix wins) until the process ends.
pub(crate) fn start(port: u16, mut mounts: Vec<Mount>) -> Result<String> {
    mounts.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    let server =
        Server::http(("127.0.0.1", port)).map_err(|e| anyhow!("cannot listen on port {port}: {e}"))?;
    let server = Arc::new((server, mounts));
    for _ in 0..THREADS {
        let shared = Arc::clone(&server);
        thread::spawn(move || {
            while let Ok(request) = shared.0.recv() {
                answer(request, &shared.1);
            }
        });
    }
    Ok(format!("http://127.0.0.1:{port}/"))
}

fn answer(request: Request, mounts: &[Mount]) {
    let found =
        locate(request.url(), mounts).and_then(|path| Some((File::open(&path).ok()?, media_type(&path))));
    // A browser that went away is not our failure.
    let _ = send(request, found);
}

/// Writes the response by hand, for one header that the library keeps to itself: it gives each connection a thread for as
/// long as the connection is open, and a browser's sixth then waits, sometimes for minutes, until another is closed.
fn send(request: Request, found: Option<(File, &str)>) -> io::Result<()> {
    let mut to = request.into_writer();
    let (status, kind, length) = match &found {
        Some((file, kind)) => ("200 OK", *kind, file.metadata()?.len()),
        None => ("404 Not Found", "text/plain", 0),
    };
    // The demo is rebuilt between runs under the same addresses: nothing is to be stored.
    write!(
        to,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )?;
    if let Some((mut file, _)) = found {
        io::copy(&mut file, &mut to)?;
    }
    to.flush()
}

/// The file of an address, never outside its mount.
fn locate(url: &str, mounts: &[Mount]) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next()?;
    let (prefix, dir) = mounts.iter().find(|(prefix, _)| path.starts_with(prefix))?;
    let rest = Path::new(path.strip_prefix(prefix)?);
    if !rest.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let file = dir.join(rest);
    let file = if file.is_dir() { file.join("index.html") } else { file };
    file.is_file().then_some(file)
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        // Browsers compile a module while it loads only with this type.
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_never_leaves_its_folder() {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mounts = vec![("/driver/", here.join("js")), ("/", here.clone())];
        assert_eq!(locate("/Cargo.toml?x=1", &mounts), Some(here.join("Cargo.toml")));
        assert_eq!(locate("/driver/assess.mjs", &mounts), Some(here.join("js/assess.mjs")));
        for outside in ["/../Cargo.toml", "/driver/../Cargo.toml", "//etc/passwd", "/src", "/driver/none.js"]
        {
            assert_eq!(locate(outside, &mounts), None, "{outside}");
        }
    }
}
