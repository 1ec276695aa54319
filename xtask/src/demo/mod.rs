//! `cargo xtask demo`: from raw purchases to tiers in a page, a worker and the command line.

mod compare;
mod prepare;
mod serve;
mod table;
mod worker;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use self::{
    compare::{Agreement, Native},
    prepare::{Source, Trained},
};
pub(crate) use self::{
    prepare::{complete_journey, tiercast},
    serve::free_port,
    worker::Worker,
};
use crate::{
    edge, native, setup,
    shell::{Run, cache_dir, root, step},
    wasm, web,
};

/// Where the page is looked for first; the worker is next to it.
const PORT: u16 = 8700;
/// How many members the runtimes are compared on, and the page offers.
const MEMBERS: &str = "50";
/// Enough synthetic members to train on in a test.
const REHEARSAL_MEMBERS: u64 = 600;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Opens nothing: scores members in four runtimes, prints a table, fails on any disagreement
    #[arg(long)]
    once: bool,
    /// complete-journey, synth, a .csv or .parquet of your own events, or a tiercast.toml
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// The page's port; the worker takes the next one
    #[arg(long, default_value_t = PORT)]
    port: u16,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<()> {
    let source = Source::parse(args.data.as_deref())?;
    let stage = Stage::build(&source, args.port)?;
    match args.once {
        true => stage.compare(),
        false => stage.hold(),
    }
}

/// The demo as a test: on the generator, headless.
pub(crate) fn rehearse() -> Result<()> {
    Stage::build(&Source::Synth(REHEARSAL_MEMBERS), 0)?.compare()
}

/// Everything that runs while the demo does.
struct Stage {
    trained: Trained,
    page: String,
    worker: Worker,
}

impl Stage {
    fn build(source: &Source, port: u16) -> Result<Self> {
        setup::run()?;
        native::build()?;
        let trained = prepare::train(source)?;
        let members = trained.file("members.json");
        step("demo: members", || {
            let run = tiercast().arg("members").arg("-p").arg(&trained.project).args(["--sample", MEMBERS]);
            run.arg("-o").arg(&members).run()
        })?;
        wasm::build()?;
        web::build()?;
        edge::build()?;
        let site = site(&trained.bundle(), &members)?;
        let mounts = vec![
            ("/", site),
            ("/package/dist/", web::dir().join("dist")),
            ("/package/pkg/", wasm::package_dir()),
            ("/driver/", root().join("xtask/js")),
        ];
        let page = serve::start(serve::free_port(port)?, mounts)?;
        let next = if port == 0 { 0 } else { serve::free_port(port.saturating_add(1))? };
        let worker = Worker::start(&trained.bundle(), next)?;
        Ok(Self { trained, page, worker })
    }

    /// Prints the addresses and stays until the user stops it.
    fn hold(self) -> Result<()> {
        table::figures(&self.trained)?;
        let Worker { url, token, .. } = &self.worker;
        println!("\n  page     {}", self.page);
        println!("  worker   {url}   (token {token})");
        println!("  report   {}", self.trained.file("report.html").display());
        println!("  bundle   {}", self.trained.bundle().display());
        println!("\n  curl -H 'authorization: Bearer {token}' {url}v1/model");
        // What is to be deployed is the shop's decision: the demo never puts a bundle there itself.
        println!(
            "\n  cp {} edge-worker/assets/bundle.tcb   # before `npx wrangler deploy`",
            self.trained.bundle().display()
        );
        println!("\nCtrl-C ends the demo.");
        self.worker.wait()
    }

    /// Scores the members natively and in three other runtimes, and prints how far these agree.
    fn compare(self) -> Result<()> {
        let native = step("demo: score natively", || self.native())?;
        let members = compare::count(&self.members())?;
        let mut agreements = Vec::new();
        for (name, score) in
            [("Node", Self::node as Score), ("Chromium", Self::chromium), ("workerd", Self::workerd)]
        {
            let out = self.trained.file(&format!("scores-{}.json", name.to_lowercase()));
            step(&format!("demo: score in {name}"), || score(&self, &native.as_of).arg(&out).run())?;
            agreements.push((name, Agreement::of(&native, &compare::read(&out)?, members)));
        }
        table::figures(&self.trained)?;
        table::tiers(&native);
        table::agreement(&agreements, native.has_profiles());
        let differing: Vec<&str> =
            agreements.iter().filter(|(_, a)| !a.is_whole()).map(|(name, _)| *name).collect();
        match differing.as_slice() {
            [] => Ok(()),
            names => bail!("{} disagrees with the native scores", names.join(", ")),
        }
    }

    /// All members from the shop's own tables: a way to the scores that shares nothing with the others but core.
    fn native(&self) -> Result<Native> {
        let out = self.trained.file("scores-native.json");
        let run = tiercast().arg("score").arg(self.trained.bundle()).arg("-p").arg(&self.trained.project);
        let embedding = self.trained.has_profiles()?.then_some("--embedding");
        run.arg("--features").args(embedding).arg("-o").arg(&out).run()?;
        Native::read(&out)
    }

    fn node(&self, now: &str) -> Run {
        driver("node.mjs").arg(self.trained.bundle()).arg(self.members()).arg(now)
    }

    fn chromium(&self, now: &str) -> Run {
        driver("chromium.mjs")
            .env("SCREENSHOT", self.trained.file("page.png"))
            .arg(&self.page)
            .arg(self.members())
            .arg(now)
    }

    fn workerd(&self, now: &str) -> Run {
        let Worker { url, token, .. } = &self.worker;
        driver("edge.mjs").args([url, token]).arg(self.members()).arg(now)
    }

    fn members(&self) -> PathBuf {
        self.trained.file("members.json")
    }
}

type Score = fn(&Stage, &str) -> Run;

/// A script that scores the members in one runtime; its last argument is where the scores go.
fn driver(script: &str) -> Run {
    let run = Run::new("node").arg(root().join("xtask/js").join(script)).limit(600);
    match setup::find_chromium() {
        Ok(Some(chrome)) => run.env("CHROME", chrome),
        _ => run,
    }
}

/// The page as it is served: what the package built, and this run's data.
fn site(bundle: &Path, members: &Path) -> Result<PathBuf> {
    let site = cache_dir("demo/site")?;
    for entry in fs::read_dir(web::dir().join("demo/dist"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, site.join(name))?;
        }
    }
    fs::copy(bundle, site.join("bundle.tcb"))?;
    fs::copy(members, site.join("members.json"))?;
    Ok(site)
}
