//! Writes the vectors of `tests/vectors/` and says what changed. Run it as `cargo xtask vectors`.
//!
//! Real members' events are not ours to commit: their vectors are made on the machine that fetched them, for every
//! runtime there, and only the digests of what must be computed are kept (`tests/vectors/real.json`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tiercast_core::Scorer;
use tiercast_tests::{DamageCase, Expect, MemberCase, at_root, hex, members, read, run};

const BUNDLE: &str = "tests/fixtures/fixture.tcb";
const DIGESTS: &str = "tests/vectors/real.json";

/// Write the language-neutral vectors that every runtime is tested with.
#[derive(Parser)]
struct Args {
    /// Instead of the made-up members, take these: the output of `tiercast members`.
    #[arg(long, value_name = "MEMBERS.json", requires = "out")]
    real: Option<PathBuf>,
    /// Where their vectors go. They hold the members' events: do not commit them.
    #[arg(long, value_name = "VECTORS.json")]
    out: Option<PathBuf>,
    /// Write nothing into the project; fail where something would change.
    #[arg(long)]
    check: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let bundle = read(BUNDLE)?;
    let scorer = Scorer::load(&bundle).with_context(|| format!("cannot load {BUNDLE}"))?;
    let unchanged = match (&args.real, &args.out) {
        (Some(real), Some(out)) => real_members(&scorer, real, out, args.check)?,
        _ => {
            let cases: Vec<_> =
                members::all(scorer.bundle())?.into_iter().map(|member| solved(&scorer, member)).collect();
            let members = write("tests/vectors/members.json", &file(&cases)?, cases.len(), args.check)?;
            let cases = damage(bundle.len());
            write("tests/vectors/damage.json", &file(&cases)?, cases.len(), args.check)? && members
        }
    };
    Ok(if args.check && !unchanged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn solved(scorer: &Scorer, member: members::Member) -> MemberCase {
    let expect = Expect::Error { error: String::new() };
    let snapshot = member.snapshot.map(|bytes| hex(&bytes));
    let case = MemberCase { name: member.name, snapshot, events: member.events, now: member.now, expect };
    MemberCase { expect: run(scorer, &case), ..case }
}

/// The part of `tiercast members`' output that is needed here.
#[derive(Deserialize)]
struct Exported {
    members: Vec<ExportedMember>,
}

#[derive(Deserialize)]
struct ExportedMember {
    member: String,
    events: Vec<Value>,
}

/// What must be computed for a real member, without the member's events.
#[derive(Serialize)]
struct DigestCase<'c> {
    name: &'c str,
    now: i64,
    sha256: String,
    tier: u8,
}

fn real_members(scorer: &Scorer, real: &Path, out: &Path, check: bool) -> Result<bool> {
    let text = fs::read_to_string(real).with_context(|| format!("cannot read {}", real.display()))?;
    let exported: Exported = serde_json::from_str(&text).context("not the output of `tiercast members`")?;
    // The end of a quarter, the middle of one, and the moment of the made-up members.
    let moments = [1_498_867_199_999, 1_502_755_200_000, members::NOW];
    let cases: Vec<_> = exported
        .members
        .iter()
        .flat_map(|m| moments.map(|now| known(m, now)))
        .map(|member| solved(scorer, member))
        .collect();
    fs::write(out, file(&cases)?).with_context(|| format!("cannot write {}", out.display()))?;
    let digests: Vec<_> = cases.iter().map(digest).collect::<Result<_>>()?;
    write(DIGESTS, &file(&digests)?, digests.len(), check)
}

/// A real member at a moment, with what had happened by then.
fn known(exported: &ExportedMember, now: i64) -> members::Member {
    let happened = |event: &&Value| event["time"].as_i64().is_some_and(|time| time <= now);
    let events = exported.events.iter().filter(happened).cloned().collect();
    members::Member { name: exported.member.clone(), snapshot: None, events, now }
}

fn digest(case: &MemberCase) -> Result<DigestCase<'_>> {
    match &case.expect {
        Expect::Assessment { features, probabilities, tier, .. } => {
            let bits = probabilities.iter().map(|p| format!("{:08x}", p.to_bits()));
            let bits: String = features.iter().cloned().chain(bits).collect();
            let sha256 = format!("{:x}", Sha256::digest(bits));
            Ok(DigestCase { name: &case.name, now: case.now, sha256, tier: *tier })
        }
        Expect::Error { error } => bail!("real member {} at {}: {error}", case.name, case.now),
    }
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

/// One case a line, so that a diff names the cases that changed.
fn file<T: Serialize>(cases: &[T]) -> Result<String> {
    let lines = cases.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{{\"format\":1,\"bundle\":{BUNDLE:?},\"cases\":[\n{}\n]}}\n", lines.join(",\n")))
}

/// Writes a file of the project, and returns whether it was like that already.
fn write(path: &str, text: &str, cases: usize, check: bool) -> Result<bool> {
    let old = fs::read_to_string(at_root(path)).unwrap_or_default();
    if text == old {
        println!("{path}: {cases} cases, unchanged");
        return Ok(true);
    }
    let known: Vec<&str> = old.lines().map(|line| line.trim_end_matches(',')).collect();
    let differing = text.lines().filter(|line| !known.contains(&line.trim_end_matches(','))).count();
    if check {
        println!("{path}: {differing} lines would change; `cargo xtask vectors` writes them");
    } else {
        fs::write(at_root(path), text)?;
        println!("{path}: {differing} lines changed; `git diff --word-diff {path}` shows them");
    }
    Ok(false)
}
