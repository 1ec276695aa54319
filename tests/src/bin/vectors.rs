//! Writes `tests/vectors/*.json` from the fixture bundle, and says what changed. Run it as `cargo xtask vectors`.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;
use tiercast_core::Scorer;
use tiercast_tests::{DamageCase, Expect, MemberCase, at_root, members, read, run};

const BUNDLE: &str = "tests/fixtures/fixture.tcb";

fn main() -> Result<()> {
    let bundle = read(BUNDLE)?;
    let scorer = Scorer::load(&bundle).with_context(|| format!("cannot load {BUNDLE}"))?;
    let cases = members::all()
        .into_iter()
        .map(|member| {
            let empty = Expect::Error { error: String::new() };
            let case =
                MemberCase { name: member.name, events: member.events, now: member.now, expect: empty };
            MemberCase { expect: run(&scorer, &case), ..case }
        })
        .collect::<Vec<_>>();
    let head = format!("\"format\":1,\"bundle\":{BUNDLE:?}");
    write("tests/vectors/members.json", &head, &cases)?;
    write("tests/vectors/damage.json", &head, &damage(bundle.len()))
}

fn damage(length: usize) -> Vec<DamageCase> {
    let keep = |name: &str, keep| DamageCase {
        name: name.into(),
        keep: Some(keep),
        set: None,
        error: "bundle_truncated".into(),
    };
    let set = |name: &str, at, value, error: &str| DamageCase {
        name: name.into(),
        keep: None,
        set: Some((at, value)),
        error: error.into(),
    };
    vec![
        keep("nothing at all", 0),
        keep("cut within the magic", 5),
        keep("cut within the head", 14),
        keep("cut within the table", 100),
        keep("cut by one byte", length - 1),
        set("another magic", 0, b'X', "not_a_bundle"),
        set("a version of the future", 8, 99, "bundle_version"),
        set("too many sections", 13, 255, "not_a_bundle"),
        set("a section renamed", 16, b'x', "bundle_section"),
        set("a section beyond the end", 36, 255, "bundle_truncated"),
        set("a changed byte in the last section", length - 1, 0, "bundle_hash"),
        set("a changed hash", 48, 0, "bundle_hash"),
    ]
}

/// Writes one case a line, so that a diff names the cases that changed.
fn write<T: Serialize>(path: &str, head: &str, cases: &[T]) -> Result<()> {
    let lines = cases.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    let text = format!("{{{head},\"cases\":[\n{}\n]}}\n", lines.join(",\n"));
    let old = fs::read_to_string(at_root(path)).unwrap_or_default();
    if text == old {
        println!("{path}: {} cases, unchanged", cases.len());
        return Ok(());
    }
    let known: Vec<&str> = old.lines().map(|line| line.trim_end_matches(',')).collect();
    let changed = lines.iter().filter(|line| !known.contains(&line.as_str())).count();
    fs::write(at_root(path), text)?;
    println!(
        "{path}: {changed} of {} cases are new or differ; `git diff --word-diff {path}` shows how",
        cases.len()
    );
    Ok(())
}
