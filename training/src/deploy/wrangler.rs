//! Cloudflare's own command line, which knows how to log in: `npx --no-install wrangler`, or a program in its place.
//!
//! Written against wrangler 4.86. It has no code for "there is no such key", so that is told by its words, and everything else
//! that fails is a failure. Values go through files of a folder of our own; what `kv key get` gives can only be had on stdout.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, anyhow, bail};
use tempfile::TempDir;

/// How an R2 bucket or a KV namespace is reached.
#[derive(Debug, Default, clap::Args)]
pub struct Wrangler {
    /// The storage of `wrangler dev` on this machine in place of Cloudflare's.
    #[arg(long)]
    pub local: bool,
    /// Where that lies [default: .wrangler/state here; for the edge worker edge-worker/.wrangler/state].
    #[arg(long, value_name = "DIR", requires = "local")]
    pub persist_to: Option<PathBuf>,
    /// The program to run in place of `npx --no-install wrangler`.
    #[arg(long, value_name = "PROGRAM")]
    pub wrangler: Option<PathBuf>,
}

/// What wrangler says of a key that is not there: of R2, of local KV (on stdout, and it succeeds), of KV.
const NO_OBJECT: &str = "The specified key does not exist";
const NO_VALUE: &[u8] = b"Value not found\n";
const NOT_FOUND: &str = " - 404: ";

impl Wrangler {
    pub(super) fn is_default(&self) -> bool {
        !self.local && self.persist_to.is_none() && self.wrangler.is_none()
    }

    pub(super) fn r2_get(&self, bucket: &str, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let (_folder, file) = scratch()?;
        let object = format!("{bucket}/{key}");
        let words = ["r2", "object", "get", &object, "--file"].map(OsStr::new);
        let (said, output) = self.run(&[&words[..], &[file.as_os_str()]].concat())?;
        if output.status.success() {
            let value = fs::read(&file).with_context(|| format!("`{said}` succeeded and wrote nothing"))?;
            return Ok(Some(value));
        }
        if words_of(&output).contains(NO_OBJECT) {
            return Ok(None);
        }
        Err(failed(&said, &output, &bucket_named(bucket)))
    }

    pub(super) fn r2_put(&self, bucket: &str, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let (_folder, file) = scratch()?;
        fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        let object = format!("{bucket}/{key}");
        let words = ["r2", "object", "put", &object, "--file"].map(OsStr::new);
        let (said, output) = self.run(&[&words[..], &[file.as_os_str()]].concat())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(&said, &output, &bucket_named(bucket))),
        }
    }

    pub(super) fn kv_get(&self, id: &str, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let words = ["kv", "key", "get", "--namespace-id", id, key].map(OsStr::new);
        let (said, output) = self.run(&words)?;
        match output.status.success() {
            true if output.stdout == NO_VALUE => Ok(None),
            true => Ok(Some(output.stdout)),
            false if words_of(&output).contains(NOT_FOUND) => Ok(None),
            false => Err(failed(&said, &output, &namespace(id))),
        }
    }

    pub(super) fn kv_put(&self, id: &str, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let (_folder, file) = scratch()?;
        fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        let words = ["kv", "key", "put", "--namespace-id", id, key, "--path"].map(OsStr::new);
        let (said, output) = self.run(&[&words[..], &[file.as_os_str()]].concat())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(&said, &output, &namespace(id))),
        }
    }

    /// Runs wrangler to its end; what was run, for people, and what came of it.
    fn run(&self, words: &[&OsStr]) -> anyhow::Result<(String, Output)> {
        let mut line: Vec<OsString> = match &self.wrangler {
            Some(program) => vec![program.into()],
            None => [NPX, "--no-install", "wrangler"].map(OsString::from).to_vec(),
        };
        line.extend(words.iter().map(OsString::from));
        line.push(if self.local { "--local" } else { "--remote" }.into());
        if let Some(folder) = &self.persist_to {
            line.extend(["--persist-to".into(), folder.into()]);
        }
        let output = Command::new(&line[0])
            .args(&line[1..])
            // Nothing is sent but what was asked for, and it says why it fails.
            .envs([
                ("WRANGLER_SEND_METRICS", "false"),
                ("WRANGLER_HIDE_BANNER", "true"),
                ("WRANGLER_LOG", "log"),
            ])
            .stdin(Stdio::null())
            .output();
        let said = line.join(OsStr::new(" ")).to_string_lossy().into_owned();
        match output {
            Ok(output) => Ok((said, output)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{} is not to be found; install Node 20 or later and wrangler (npm install wrangler), or name the program \
                 with --wrangler",
                Path::new(&line[0]).display()
            ),
            Err(error) => Err(error).with_context(|| format!("cannot run `{said}`")),
        }
    }
}

/// What npm's program for running programs is called.
const NPX: &str = if cfg!(windows) { "npx.cmd" } else { "npx" };

/// A file of our own, in a folder that goes when it is dropped.
fn scratch() -> anyhow::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir().context("cannot make a folder for what wrangler reads and writes")?;
    let file = folder.path().join("value");
    Ok((folder, file))
}

fn bucket_named(bucket: &str) -> String {
    format!("there is a bucket {bucket}: npx wrangler r2 bucket list")
}

fn namespace(id: &str) -> String {
    format!("there is a namespace with the id {id}: npx wrangler kv namespace list")
}

/// Its errors go to stderr, and some to stdout; in colours, whatever it is told.
fn words_of(output: &Output) -> String {
    let text = [&output.stderr[..], &output.stdout].concat();
    without_colours(&String::from_utf8_lossy(&text))
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let plain = parts.next().unwrap_or_default().to_owned();
    let rest =
        parts.map(|part| part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest));
    plain + &rest.collect::<String>()
}

fn failed(said: &str, output: &Output, look: &str) -> anyhow::Error {
    let words = words_of(output);
    let words: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    anyhow!(
        "`{said}` failed ({}):\n    {}\nLook whether\n    wrangler is installed in this folder or one above it: npm install wrangler\n    \
         it is logged in: npx wrangler login, or CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID\n    {look}",
        output.status,
        words.join("\n    ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_without_their_colours() {
        let text = "\u{1b}[31m✘ \u{1b}[41;31m[\u{1b}[41;97mERROR\u{1b}[41;31m]\u{1b}[0m \u{1b}[1mNo such key.\u{1b}[0m\n";
        assert_eq!(without_colours(text), "✘ [ERROR] No such key.\n");
        assert_eq!(without_colours("plain"), "plain");
    }
}
