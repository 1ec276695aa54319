//! From data to a trained bundle, by the `tiercast` program as a user would call it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    native,
    shell::{Key, Run, cache_dir, step, unless_done, write},
};

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The known set when the registry has it, else the generator.
    Default,
    /// The known set or nothing.
    CompleteJourney,
    /// The seeded generator, with this many members.
    Synth(u64),
    /// A table, a folder with a project, or a project file.
    Own(PathBuf),
}

/// The table that `tiercast evaluate` printed.
pub(crate) const FIGURES: &str = "figures.txt";

/// How many members the generator makes unless a test asks for fewer.
pub(crate) const SYNTH_MEMBERS: u64 = 3000;

impl Source {
    /// What `--data` says; a path must be there before anything is built for it.
    pub(crate) fn parse(data: Option<&str>) -> Result<Self> {
        Ok(match data {
            None => Self::Default,
            Some("complete-journey") => Self::CompleteJourney,
            Some("synth") => Self::Synth(SYNTH_MEMBERS),
            Some(path) => Self::Own(Path::new(path).canonicalize().with_context(|| {
                format!("--data {path} is no file or folder, nor one of: complete-journey, synth")
            })?),
        })
    }
}

/// What training left.
#[derive(Debug)]
pub(crate) struct Trained {
    pub(crate) project: PathBuf,
    pub(crate) run: PathBuf,
    /// Said once more at the end, so that nobody takes one data set for another.
    pub(crate) data: String,
}

impl Trained {
    /// The artifact that every runtime loads.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.run.join("bundle.tcb")
    }

    /// Whether the bundle says how members behave.
    pub(crate) fn has_profiles(&self) -> Result<bool> {
        let path = self.run.join("run.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let record: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(!record["profile"].is_null())
    }

    /// A file beside the run, for the demo's own use.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }
}

/// Gets the data, trains and evaluates; what is current is not done again.
pub(crate) fn train(source: &Source) -> Result<Trained> {
    let (project, data) = project(source)?;
    let name = Key::default().word(&project.to_string_lossy()).hex();
    let run = cache_dir("demo")?.join(format!("run-{name}"));
    let stamp = run.join(".stamp");
    // Which tables a user's project reads is its own business, so that one is always trained.
    if matches!(source, Source::Own(_)) && stamp.exists() {
        fs::remove_file(&stamp)?;
    }
    let key = inputs(&project)?;
    let bundle = run.join("bundle.tcb");
    let report = run.join("report.json");
    unless_done(&stamp, &key, &[&bundle, &report], || {
        step("demo: train", || {
            tiercast().arg("train").arg("-p").arg(&project).arg("-o").arg(&run).shown().run()
        })?;
        let figures = step("demo: evaluate", || tiercast().arg("evaluate").arg(&run).output())?;
        write(&run.join(FIGURES), figures.as_bytes())?;
        if matches!(source, Source::Own(_)) { Ok(()) } else { equip(&project, &run) }
    })?;
    Ok(Trained { project, run, data })
}

/// What the demo's shop can offer.
const OFFERS: &str = "none=0,100 points=100,300 points=300,1000 points=1000";

/// Puts a policy for offers into the bundle, learned from simulated responses to them: no public set has real ones, and the policy's
/// name says so. A user's own data gets none.
fn equip(project: &Path, run: &Path) -> Result<()> {
    let (bundle, log, policy) = (run.join("bundle.tcb"), run.join("decisions.parquet"), run.join("policy"));
    step("demo: offers, with simulated responses", || {
        let simulate = tiercast().args(["policy", "simulate", "--arms", OFFERS, "-p"]).arg(project);
        simulate.arg("-o").arg(&log).run()?;
        let train = tiercast().args(["policy", "train", "--name", "offers, by simulated responses"]);
        train.arg(&bundle).arg(&log).arg("-p").arg(project).arg("-o").arg(&policy).run()?;
        let whole = run.join("whole.tcb");
        // A policy that the log does not prove is refused, and then the demo has none.
        match tiercast().arg("bundle").arg(&bundle).arg(&policy).arg("-o").arg(&whole).run() {
            Ok(()) => Ok(fs::rename(&whole, &bundle)?),
            Err(error) if error.to_string().contains("is not proven, so nothing was written") => {
                eprintln!("  the demo makes no offers: {error:#}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    })
}

/// The `tiercast` program.
pub(crate) fn tiercast() -> Run {
    Run::new(native::program("tiercast"))
}

fn project(source: &Source) -> Result<(PathBuf, String)> {
    match source {
        Source::CompleteJourney => Ok((complete_journey()?, "Complete Journey".to_owned())),
        Source::Synth(members) => synth(*members),
        Source::Own(path) => own(path),
        Source::Default => {
            complete_journey().map(|project| (project, "Complete Journey".to_owned())).or_else(|error| {
                eprintln!(
                    "\nComplete Journey cannot be had: {error:#}\nThe demo goes on with SYNTHETIC members.\n"
                );
                synth(SYNTH_MEMBERS)
            })
        }
    }
}

/// The project of the known set, fetched when it is not there.
pub(crate) fn complete_journey() -> Result<PathBuf> {
    let cache = cache_dir("data")?;
    let project = cache.join("complete-journey/tiercast.toml");
    step("demo: data (complete-journey)", || {
        tiercast().args(["data", "fetch", "complete-journey", "--force", "--cache"]).arg(&cache).run()
    })?;
    match project.is_file() {
        true => Ok(project),
        false => bail!("`tiercast data fetch` left no {}", project.display()),
    }
}

fn synth(members: u64) -> Result<(PathBuf, String)> {
    let dir = cache_dir("data")?.join(format!("synth-{members}"));
    let project = dir.join("tiercast.toml");
    let key = program_key()?;
    unless_done(&dir.join(".stamp"), &key, &[&project], || {
        step("demo: data (synthetic)", || {
            tiercast()
                .args(["data", "synth", "--force", "--members", &members.to_string(), "--out"])
                .arg(&dir)
                .run()
        })
    })?;
    Ok((project, format!("{members} SYNTHETIC members")))
}

/// The user's own table or project. A project that has to be written for a table lies in our cache: the user's
/// folder is not ours to write to, and a project that is there already may be of another table.
fn own(path: &Path) -> Result<(PathBuf, String)> {
    let data = path.display().to_string();
    if path.extension().is_some_and(|e| e == "toml") {
        return Ok((path.to_owned(), data));
    }
    if path.is_dir() {
        let project = path.join("tiercast.toml");
        return match project.is_file() {
            true => Ok((project, data)),
            false => bail!(
                "{data} holds no tiercast.toml: name a table (.csv or .parquet) and one is written for it"
            ),
        };
    }
    let dir = cache_dir("demo")?.join(format!("project-{}", Key::default().word(&data).hex()));
    let project = dir.join("tiercast.toml");
    if !project.is_file() {
        fs::create_dir_all(&dir)?;
        step("demo: tiercast init", || tiercast().arg("init").arg(path).arg("-o").arg(&project).output())?;
    }
    eprintln!(
        "  the project of {data} is {}\n  change it there, or copy it and give the copy to --data",
        project.display()
    );
    Ok((project, data))
}

/// What a trained run depends on: the program, the project, and the tables beside it.
fn inputs(project: &Path) -> Result<String> {
    let mut key = Key::default().word(&program_key()?).file(project)?;
    let dir = project.parent().context("a project file lies in a folder")?;
    let mut tables: Vec<_> = fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    tables.sort_by_key(fs::DirEntry::file_name);
    for entry in tables {
        let meta = entry.metadata()?;
        // A project file counts by what it says: fetching writes it anew each time.
        let is_project = entry.path().extension().is_some_and(|e| e == "toml");
        if meta.is_file() && !is_project {
            let changed = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            key = key.word(&format!("{:?} {} {}", entry.file_name(), meta.len(), changed.as_millis()));
        }
    }
    Ok(key.hex())
}

fn program_key() -> Result<String> {
    Ok(Key::default().file(&native::program("tiercast"))?.hex())
}
