//! `tiercast data`: tables to begin with, and what is in a table.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;

pub mod check;
pub mod fetch;
pub mod synth;

/// `tiercast data …`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the command line would show them in place of each command's own words")]
pub enum Command {
    Fetch(fetch::Args),
    Synth(synth::Args),
    Check(check::Args),
}

/// Runs the command.
///
/// # Errors
/// As the command does.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Fetch(args) => fetch::run(args),
        Command::Synth(args) => synth::run(args),
        Command::Check(args) => check::run(args),
    }
}

/// Writes a project file unless there is another one that somebody may have edited; `force` replaces it.
fn write_project(path: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    if !force && fs::read(path).is_ok_and(|found| found != text.as_bytes()) {
        eprintln!(
            "{}: kept, though it is not the file that this version writes; it was edited or is of another version: \
             --force replaces it",
            path.display()
        );
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_project_file_is_kept_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiercast.toml");
        let write = |text, force| {
            write_project(&path, text, force).unwrap();
            fs::read_to_string(&path).unwrap()
        };
        assert_eq!(write("a", false), "a");
        assert_eq!(write("b", false), "a");
        assert_eq!(write("b", true), "b");
    }
}
