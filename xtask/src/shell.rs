//! Running other programs: where things are, what a step prints, and how a failure reads.

use std::{
    env,
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hasher},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable when it runs us; a shared target folder may hold
    // a binary that was compiled in another clone.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = PathBuf::from(manifest);
    manifest.parent().map_or(manifest.clone(), Path::to_path_buf)
}

/// Cargo's target folder.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Our own folder inside the target folder, created when missing.
pub(crate) fn cache_dir(name: &str) -> Result<PathBuf> {
    let dir = target_dir().join("tiercast").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Keeps other runs of this program out of the caches until the returned file is dropped.
pub(crate) fn exclusive() -> Result<fs::File> {
    let path = cache_dir("")?.join("lock");
    let file = fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("  waiting for another xtask that is building …");
        file.lock()?;
    }
    Ok(file)
}

/// A program to run, with its output hidden unless it fails.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    limit: Duration,
    shown: Shown,
}

/// What the terminal gets of a program's output; the rest is kept for a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Errors,
    All,
}

/// The longest any program may take unless it asks for more.
const LIMIT: Duration = Duration::from_secs(40 * 60);

impl Run {
    /// A program, run in the root of the checkout.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(root()).stdin(Stdio::null());
        Self { command, limit: LIMIT, shown: Shown::Nothing }
    }

    /// Cargo, as if a person had called it: without what the outer cargo told us about ourselves.
    pub(crate) fn cargo() -> Self {
        let mut run = Self::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                run.command.env_remove(name.as_ref());
            }
        }
        run.command.env("CARGO_TARGET_DIR", target_dir());
        run.shown()
    }

    /// A tool from the root `node_modules`.
    pub(crate) fn npm_bin(name: &str) -> Self {
        Self::new(root().join("node_modules/.bin").join(name))
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Ends the program after this many seconds.
    pub(crate) fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Lets the program write to our terminal.
    pub(crate) fn shown(mut self) -> Self {
        self.shown = Shown::All;
        self
    }

    /// Lets the program write its messages to our terminal, and keeps its standard output.
    pub(crate) fn read(mut self) -> Self {
        self.shown = Shown::Errors;
        self
    }

    /// Starts it and leaves it running, with pipes to its standard input and output.
    pub(crate) fn spawn(mut self) -> Result<Child> {
        let line = self.line();
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().with_context(|| format!("cannot start `{line}`"))
    }

    /// Runs it to its end; an exit status other than 0 is an error that holds its output.
    pub(crate) fn run(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs it and returns its standard output (empty when it was shown).
    pub(crate) fn output(mut self) -> Result<String> {
        let line = self.line();
        if self.shown != Shown::All {
            self.command.stdout(Stdio::piped());
        }
        if self.shown == Shown::Nothing {
            self.command.stderr(Stdio::piped());
        }
        let mut child = self.command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        let out = child.stdout.take().map(collect);
        let err = child.stderr.take().map(collect);
        let status = wait(&mut child, self.limit)?;
        let text = |handle: Option<thread::JoinHandle<String>>| {
            handle.and_then(|h| h.join().ok()).unwrap_or_default()
        };
        let (out, err) = (text(out), text(err));
        match status {
            Some(status) if status.success() => Ok(out),
            Some(status) => bail!("`{line}` failed ({status})\n{}{}", tail(&out), tail(&err)),
            None => bail!(
                "`{line}` did not end within {} s and was stopped\n{}{}",
                self.limit.as_secs(),
                tail(&out),
                tail(&err)
            ),
        }
    }

    fn line(&self) -> String {
        let mut line = Path::new(self.command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for arg in self.command.get_args() {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// The last lines of a long output: where the reason is.
fn tail(text: &str) -> String {
    const LINES: usize = 120;
    let lines: Vec<&str> = text.lines().collect();
    let mut end = lines[lines.len().saturating_sub(LINES)..].join("\n");
    if !end.is_empty() {
        end.push('\n');
    }
    end
}

/// Runs `work` as a named step and prints how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("  {name} …");
    let start = Instant::now();
    let outcome = work().with_context(|| name.to_owned());
    if outcome.is_ok() {
        eprintln!("  {name}: {}", seconds(start.elapsed()));
    }
    outcome
}

/// A time as people read it.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}

/// A program on `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A cache key over files and words. It is compared only with keys of the same
/// build of this program, so the standard hasher is enough.
#[derive(Debug, Default)]
pub(crate) struct Key(DefaultHasher);

impl Key {
    pub(crate) fn word(mut self, word: &str) -> Self {
        self.0.write(word.as_bytes());
        self.0.write_u8(0xff);
        self
    }

    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.0.write_usize(bytes.len());
        self.0.write(&bytes);
        Ok(self)
    }

    /// Every file below `path`, in order, but for folders with one of these names.
    pub(crate) fn tree(mut self, path: &Path, except: &[&str]) -> Result<Self> {
        if path.is_file() {
            return self.file(path);
        }
        let mut entries: Vec<PathBuf> = fs::read_dir(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !except.contains(&name.as_str()) {
                self = self.word(&name).tree(&entry, except)?;
            }
        }
        Ok(self)
    }

    pub(crate) fn hex(&self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

/// Does `work` unless `stamp` says that it was done with this key, and every output is there.
pub(crate) fn unless_done(
    stamp: &Path,
    key: &str,
    outputs: &[&Path],
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let done = fs::read_to_string(stamp).is_ok_and(|seen| seen == key);
    if done && outputs.iter().all(|path| path.exists()) {
        return Ok(());
    }
    // An interrupted run must not look finished.
    if stamp.exists() {
        fs::remove_file(stamp)?;
    }
    work()?;
    write(stamp, key.as_bytes())
}

/// Copies a file so that a reader sees the old one or the new one, never a part.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let partial = to.with_extension("partial");
    let copied = fs::copy(from, &partial).and_then(|_| fs::rename(&partial, to));
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Writes a file, and says which one when it cannot.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create(path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> Result<PathBuf> {
        let dir = cache_dir("tests")?.join(format!("{name}-{}", std::process::id()));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    #[test]
    fn a_failure_shows_the_command_and_what_it_said() {
        let error =
            Run::new("node").args(["-e", "console.error('the reason'); process.exit(3)"]).run().unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("the reason") && text.contains("node -e") && text.contains('3'), "{text}");
        assert!(Run::new("no-such-program").run().is_err());
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let error = Run::new("node").args(["-e", "setInterval(() => {}, 1000)"]).limit(1).run().unwrap_err();
        assert!(format!("{error:#}").contains("within 1 s"), "{error:#}");
    }

    #[test]
    fn work_is_done_again_only_when_its_key_or_its_output_is_gone() -> Result<()> {
        let dir = scratch("stamp")?;
        let (stamp, output) = (dir.join("stamp"), dir.join("output"));
        let runs = std::cell::Cell::new(0);
        let build = |key: &str| {
            unless_done(&stamp, key, &[&output], || {
                runs.set(runs.get() + 1);
                write(&output, b"built")
            })
        };
        build("a")?;
        build("a")?;
        assert_eq!(runs.get(), 1);
        build("b")?;
        fs::remove_file(&output)?;
        build("b")?;
        assert_eq!(runs.get(), 3);
        let failed = unless_done(&stamp, "c", &[&output], || bail!("interrupted"));
        assert!(failed.is_err());
        build("b")?;
        assert_eq!(runs.get(), 4);
        fs::remove_dir_all(dir).map_err(Into::into)
    }

    #[test]
    fn a_key_follows_names_and_contents() -> Result<()> {
        let dir = scratch("key")?;
        let key = || Key::default().tree(&dir, &["skipped"]).map(|key| key.hex());
        write(&dir.join("a/one"), b"1")?;
        let before = key()?;
        write(&dir.join("skipped/two"), b"2")?;
        assert_eq!(key()?, before);
        write(&dir.join("a/one"), b"2")?;
        assert_ne!(key()?, before);
        fs::rename(dir.join("a/one"), dir.join("a/two"))?;
        assert_ne!(key()?, before);
        fs::remove_dir_all(dir).map_err(Into::into)
    }
}
