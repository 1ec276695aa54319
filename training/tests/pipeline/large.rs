//! What a large shop asks of the program: scores in parts, runs that are killed, histories that are kept, tables in folders.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tiercast::models::mix;

use super::{fails, killed, succeeds, tiercast};

/// A synthetic shop with a small bundle for it.
fn shop(folder: &Path, members: &str) {
    succeeds(folder, &["data", "synth", "--members", members, "--out", "."]);
    let text = fs::read_to_string(folder.join("tiercast.toml")).unwrap();
    let models = "models = [\"same-tier\", \"linear\", \"logistic\", \"svm\", \"dnn\", \"boosting\", \"gru\", \"blend\"]";
    assert!(text.contains(models));
    let text = text.replace(models, "models = [\"linear\", \"logistic\"]");
    let (before, sequence) = text.split_once("[sequence]").unwrap();
    let (_, after) = sequence.split_once("[train]").unwrap();
    fs::write(folder.join("tiercast.toml"), format!("{before}[train]{after}")).unwrap();
    succeeds(folder, &["train", "-o", "run"]);
}

/// The files of a folder by name, those of Parquet by what they hold.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let file =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    fs::read_dir(folder).unwrap().map(|entry| file(entry.unwrap())).collect()
}

/// Runs a command that is killed again and again, each time a little later, until it comes to its end; how often it was.
fn killed_often(folder: &Path, args: &[&str], mut check: impl FnMut()) -> u32 {
    let complete = |folder: &Path| {
        let ledger = fs::read(folder.join("_scores.json")).ok();
        ledger.is_some_and(|ledger| serde_json::from_slice::<Value>(&ledger).unwrap()["complete"] == true)
    };
    let output = folder.join(args.last().unwrap());
    for kill in 0..200 {
        let (started, patience) = (Instant::now(), Duration::from_millis(mix(kill) % 60 + kill * 12));
        killed(folder, args, || started.elapsed() > patience);
        check();
        if complete(&output) {
            return kill as u32;
        }
    }
    panic!("it never came to its end");
}

#[test]
fn scores_in_parts_survive_being_killed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "500");
    let score = |output: &'static str| {
        vec![
            "score",
            "run/bundle.tcb",
            "-p",
            "tiercast.toml",
            "--part-rows",
            "60",
            "--reasons",
            "2",
            "-o",
            output,
        ]
    };
    let said = succeeds(folder, &score("whole/"));
    assert!(said.contains("members as of"), "{said}");
    let whole = files(&folder.join("whole"));
    let parts = whole.keys().filter(|name| name.starts_with("part-")).count();
    assert!(parts == 9 && whole.len() == 10, "{:?}", whole.keys());

    // Whatever is there under a part's name is whole.
    let times = killed_often(folder, &score("parts/"), || {
        let Ok(entries) = fs::read_dir(folder.join("parts")) else { return };
        for entry in entries {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".parquet") {
                assert!(fs::read(folder.join("parts").join(&name)).unwrap() == whole[&name], "{name}");
            }
        }
    });
    assert!(times > 0, "it was never killed");
    assert!(files(&folder.join("parts")) == whole);
    let said = succeeds(folder, &score("parts/"));
    assert!(said.contains("all of them there already"), "{said}");

    // One file says the same as the parts.
    succeeds(folder, &["score", "run/bundle.tcb", "-p", "tiercast.toml", "--reasons", "2", "-o", "one.csv"]);
    let one = fs::read_to_string(folder.join("one.csv")).unwrap();
    let header = one.lines().next().unwrap();
    assert!(header.ends_with(",warnings,reasons,bundle"), "{header}");
    let ledger: Value = serde_json::from_slice(&whole["_scores.json"]).unwrap();
    let rows: u64 =
        ledger["parts"].as_object().unwrap().values().map(|part| part["rows"].as_u64().unwrap()).sum();
    assert_eq!(one.lines().count() as u64, rows + 1);
    let members: Vec<&str> = one.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(ledger["parts"]["0"]["first"], members[0]);
    assert_eq!(ledger["parts"]["0"]["last"], members[59]);
    assert!(one.contains(&ledger["identity"]["bundle"].as_str().unwrap()[..16]));

    let other = ["score", "run/bundle.tcb", "-p", "tiercast.toml", "--part-rows", "60", "-o", "parts/"];
    assert!(fails(folder, &other).contains("--restart"));
    assert!(files(&folder.join("parts")) == whole);
    // Rows that mean something else are other scores, though the files are the same.
    let toml = fs::read_to_string(folder.join("tiercast.toml")).unwrap();
    let fewer = toml
        .replace("table = \"events.parquet\"", "table = \"events.parquet\"\nwhere = \"kind <> 'return'\"");
    assert_ne!(fewer, toml);
    fs::write(folder.join("tiercast.toml"), fewer).unwrap();
    assert!(fails(folder, &score("parts/")).contains("--restart"));
    fs::write(folder.join("tiercast.toml"), toml).unwrap();
    fs::create_dir(folder.join("letters")).unwrap();
    fs::write(folder.join("letters/letter"), "").unwrap();
    assert!(fails(folder, &score("letters/")).contains("not a folder of scores"));
    succeeds(folder, &[other.as_slice(), &["--restart"]].concat());
    assert!(files(&folder.join("parts")) != whole);
}

#[test]
fn kept_histories_are_scored_as_their_events_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    shop(folder, "400");
    // A run that was killed has changed nothing, whenever it was.
    for kill in 0..6_u64 {
        let (started, patience) = (Instant::now(), Duration::from_millis(mix(kill) % 1500));
        killed(folder, &["states", "states", "--buckets", "7"], || started.elapsed() > patience);
    }
    let said = succeeds(folder, &["states", "states", "--buckets", "7"]);
    assert!(said.contains("now ") || said.contains("already"), "{said}");
    assert!(succeeds(folder, &["states", "states"]).contains("already"));
    assert!(!folder.join("states/update").exists());

    let stored = vec!["score", "run/bundle.tcb", "--states", "states", "-o", "stored/"];
    let direct = ["score", "run/bundle.tcb", "-p", "tiercast.toml", "-o", "direct/"];
    succeeds(folder, &direct);
    killed_often(folder, &stored, || {});
    // A column without a warning is hollow, which `data check` reports by its exit code.
    let rows = |name: &str| String::from_utf8(tiercast(folder, &["data", "check", name]).stdout).unwrap();
    // The same rows, in other files: compared by every column's sum, smallest and largest.
    let (stored, direct) = (rows("stored"), rows("direct"));
    let table = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(table(&stored), table(&direct));

    let said = succeeds(folder, &["score", "run/bundle.tcb", "--states", "states", "--news", "-o", "news/"]);
    assert!(said.contains("news/"), "{said}");
    assert!(
        fails(folder, &["score", "run/bundle.tcb", "--states", "states", "-o", "one.csv"]).contains("folder")
    );
    assert!(fails(folder, &["score", "run/bundle.tcb", "--states", "run", "-o", "x/"]).contains("no store"));
}

#[test]
fn a_folder_of_files_is_one_table() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    succeeds(folder, &["data", "synth", "--members", "200", "--visits", "0.2", "--out", "one"]);
    succeeds(
        folder,
        &["data", "synth", "--members", "200", "--visits", "0.2", "--by-month", "--out", "many"],
    );
    let months = fs::read_dir(folder.join("many/events")).unwrap().count();
    assert_eq!(months, 24);
    for shop in ["one", "many"] {
        let project = format!("{shop}/tiercast.toml");
        succeeds(folder, &["features", "-p", &project, "-o", &format!("{shop}.parquet")]);
    }
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(read("one.parquet") == read("many.parquet"), "the same members, the same features");

    // Folders' names are columns; hidden and empty files are none of the table.
    let toml = fs::read_to_string(folder.join("many/tiercast.toml")).unwrap();
    let events = folder.join("many/events");
    for entry in fs::read_dir(&events).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let month = events.join(format!("month={}", &name[..7]));
        fs::create_dir(&month).unwrap();
        fs::rename(&path, month.join("part-0.parquet")).unwrap();
    }
    fs::write(events.join("_SUCCESS"), "").unwrap();
    fs::write(events.join(".part-0.parquet.crc"), "x").unwrap();
    fs::write(events.join("month=2024-12/empty.parquet"), "").unwrap();
    fs::write(
        folder.join("many/tiercast.toml"),
        toml.replace("table = \"events/\"", "table = \"events/\"\nwhere = \"month <> '2024-12'\""),
    )
    .unwrap();
    let all = succeeds(folder, &["check", "-p", "many/tiercast.toml"]);
    assert!(all.contains("0 mistakes"), "{all}");
    let said = succeeds(folder, &["features", "-p", "many/tiercast.toml", "-o", "less.parquet"]);
    assert!(!said.is_empty() && read("less.parquet") != read("one.parquet"));

    // A row that is no event is found in its file.
    fs::write(folder.join("many/tiercast.toml"), &toml).unwrap();
    fs::remove_dir_all(&events).unwrap();
    fs::create_dir_all(events.join("2024")).unwrap();
    let row = |member: &str, amount: &str| format!("{member},x,purchase,2024-01-02,{amount},0,1,i,c,web,o\n");
    let head = "member,id,kind,time,amount,discount,quantity,item,category,channel,order\n";
    fs::write(events.join("2024/a.csv"), format!("{head}{}", row("a", "1.00"))).unwrap();
    fs::write(events.join("2024/b.csv"), format!("{head}{}{}", row("b", "1.00"), row("c", "-1.00"))).unwrap();
    let said = fails(folder, &["features", "-p", "many/tiercast.toml", "-o", "x.parquet"]);
    assert!(said.contains("table events/2024/b.csv, row 2 (member c): invalid_amount"), "{said}");
    fs::write(events.join("2024/c.parquet"), "x").unwrap();
    let said = fails(folder, &["features", "-p", "many/tiercast.toml", "-o", "x.parquet"]);
    assert!(said.contains("files of two kinds"), "{said}");
    fs::remove_dir_all(&events).unwrap();
    fs::create_dir_all(&events).unwrap();
    let said = fails(folder, &["features", "-p", "many/tiercast.toml", "-o", "x.parquet"]);
    assert!(said.contains("has no file that ends in"), "{said}");
}
