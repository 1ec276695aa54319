//! `tiercast deploy`: bundles are released to edge workers that read theirs from an R2 bucket or a KV namespace, without
//! deploying code.
//!
//! A store holds bundles under their hashes, `bundles/<sha256>.tcb`, and one `release.json` ([`release`]) that names the bundle
//! that answers and perhaps one that is being tried. Bundles are written first and `release.json` last, so that what it names is
//! there; bundles are never changed and never deleted, so that an earlier one can come back.
//!
//! What is protected: a release is signed, and names bundles by hash. Who can write to the store and has no key cannot make
//! workers load anything. He can delete what is there, and put an older release back, which workers refuse by its serial for as
//! long as they remember a newer one; a worker that starts without any memory takes it. He can put a release of another store
//! there, if both have the same key: a key pair for each. Nothing here protects from who has the private key.
//!
//! Two releases at the same moment are not kept apart: the later one stays, and the other's command says that it reads back
//! something else.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail, ensure};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use tiercast_core::{EngineKind, Model, Scorer};

pub mod key;
mod publish;
pub mod release;
pub mod store;
pub mod wrangler;

use key::PublicKey;
use publish::{Release, show};
use release::{Next, Payload, Pin, Stage};
use store::Store;

/// `tiercast deploy …`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the command line would show them in place of each command's own words")]
pub enum Command {
    Key(key::Args),
    Bundle(BundleArgs),
    Promote(PromoteArgs),
    Withdraw(WithdrawArgs),
    Back(BackArgs),
    Status(StatusArgs),
}

/// Runs the command.
///
/// # Errors
/// As the command does.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Key(args) => return key::run(args),
        Command::Bundle(args) => bundle(&args)?,
        Command::Promote(args) => promote(&args)?,
        Command::Withdraw(args) => withdraw(&args)?,
        Command::Back(args) => back(&args)?,
        Command::Status(args) => status(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What every command has that changes a release.
#[derive(Debug, clap::Args)]
pub struct Change {
    /// Where releases lie.
    #[command(flatten)]
    pub store: Store,
    /// The private key that `tiercast deploy key` wrote.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The release's number, where that in the store is lost or was put back: above all that workers have taken [default: the next].
    #[arg(long, value_name = "N")]
    pub serial: Option<u64>,
    /// Say what would be done, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// How a bundle is tried.
#[derive(Debug, clap::Args)]
pub struct Trial {
    /// The share of members that a shadow scores as well, or that a canary answers, over 0 and at most 1 [default: 0.05].
    #[arg(long, value_name = "SHARE")]
    pub share: Option<f64>,
    /// How many requests a bundle on trial has before workers judge it [default: 200].
    #[arg(long, value_name = "N")]
    pub min_requests: Option<u64>,
    /// The share of its requests that may fail; over it, workers go back to the stable bundle [default: 0.01].
    #[arg(long, value_name = "SHARE")]
    pub max_failures: Option<f64>,
}

impl Trial {
    /// The bundle on this trial; what is not said is as before.
    fn of(&self, pin: Pin, stage: Stage, before: (f64, u64, f64)) -> Next {
        Next {
            sha256: pin.sha256,
            bytes: pin.bytes,
            stage,
            share: self.share.unwrap_or(before.0),
            min_requests: self.min_requests.unwrap_or(before.1),
            max_failures: self.max_failures.unwrap_or(before.2),
        }
    }

    fn refuse(&self) -> anyhow::Result<()> {
        let is_said = self.share.is_some() || self.min_requests.is_some() || self.max_failures.is_some();
        ensure!(
            !is_said,
            "--share, --min-requests and --max-failures are for a bundle on trial; leave them out, or add --stage canary"
        );
        Ok(())
    }
}

/// How far a new bundle is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StageArg {
    /// It answers all members.
    Full,
    /// It scores a share of members beside the stable bundle, and only failures and differences are counted.
    Shadow,
    /// It answers a share of members.
    Canary,
}

/// Release a bundle: to all members, or on trial.
///
/// The bundle is checked and must prove itself; one that workers cannot run is refused. It is uploaded first, and the signed
/// release.json last, which is then read back. Workers take it up by themselves; no code is deployed.
///
/// A bundle on trial is either a shadow, which scores a share of members beside the stable bundle, and whose answers are
/// counted and thrown away, or a canary, which answers a share of members. When more of its requests fail than may, workers go
/// back to the stable bundle by themselves. `tiercast deploy promote` goes on from there, `tiercast deploy withdraw` ends it.
///
/// r2: and kv: are reached through wrangler, which knows how you log in.
///
/// Example: tiercast deploy bundle run/bundle.tcb --to r2:shop-bundles --key release.key
/// Example: tiercast deploy bundle new.tcb --to r2:shop-bundles --key release.key --stage canary --share 0.05
/// Example: tiercast deploy bundle new.tcb --to kv:0f2ac74b498b48028cb68387c421e279 --key release.key --dry-run
/// Example: tiercast deploy bundle new.tcb --to r2:shop-bundles --key release.key --local --persist-to edge-worker/.wrangler/state
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct BundleArgs {
    /// The bundle.
    pub bundle: PathBuf,
    /// Where, and with which key.
    #[command(flatten)]
    pub change: Change,
    /// How far it is trusted; the first release is full.
    #[arg(long, value_enum, default_value = "full")]
    pub stage: StageArg,
    /// How it is tried.
    #[command(flatten)]
    pub trial: Trial,
}

fn bundle(args: &BundleArgs) -> anyhow::Result<()> {
    let bytes = fs::read(&args.bundle).with_context(|| format!("cannot read {}", args.bundle.display()))?;
    runnable(&bytes).with_context(|| args.bundle.display().to_string())?;
    let pin = Pin::of(&bytes);
    let release = Release::begin(&args.change)?;
    let stage = match args.stage {
        StageArg::Full => None,
        StageArg::Shadow => Some(Stage::Shadow),
        StageArg::Canary => Some(Stage::Canary),
    };
    let (stable, next) = match (stage, &release.now) {
        (None, _) => {
            args.trial.refuse()?;
            (pin.clone(), None)
        }
        (Some(_), None) => bail!(
            "nothing is released in {} yet, so there is nothing to fall back to; release this bundle with --stage full first",
            release.change.store.address
        ),
        (Some(stage), Some(now)) => {
            ensure!(
                now.stable != pin,
                "this bundle is the stable one already, so there is nothing to try; a trial is ended with `tiercast deploy withdraw`"
            );
            (now.stable.clone(), Some(args.trial.of(pin.clone(), stage, (0.05, 200, 0.01))))
        }
    };
    release.publish(stable, next, Some((&pin, &bytes)))
}

/// Refuses a bundle that workers cannot run.
fn runnable(bytes: &[u8]) -> anyhow::Result<()> {
    ensure!(
        !Model::is_in(bytes)?,
        "it holds a model alone, and workers score members; `tiercast import --into` puts a model into a bundle"
    );
    let scorer = Scorer::load(bytes)?;
    ensure!(
        scorer.bundle().manifest().engine == EngineKind::Plan,
        "it keeps its ONNX file, which only tract runs, and workers are without tract; write it again without --engine onnx"
    );
    let proven = scorer.prove()?;
    ensure!(proven > 0, "it has no made-up members to prove itself by; write it again with `tiercast train`");
    Ok(())
}

/// How far a bundle on trial goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PromoteTo {
    /// It becomes the stable bundle, and answers all members.
    Full,
    /// It answers a share of members.
    Canary,
}

/// Go on with the bundle on trial: it becomes the stable one, or a shadow becomes a canary.
///
/// Look at the workers' metrics first: that workers went back from it by themselves stands there alone
/// (tiercast_release_withdrawn), and nothing in the store says so.
///
/// Example: tiercast deploy promote --to r2:shop-bundles --key release.key --stage canary --share 0.1
/// Example: tiercast deploy promote --to r2:shop-bundles --key release.key
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct PromoteArgs {
    /// Where, and with which key.
    #[command(flatten)]
    pub change: Change,
    /// How far it goes. A canary may be promoted to a canary with another share.
    #[arg(long, value_enum, default_value = "full")]
    pub stage: PromoteTo,
    /// How it is tried.
    #[command(flatten)]
    pub trial: Trial,
}

fn promote(args: &PromoteArgs) -> anyhow::Result<()> {
    let release = Release::begin(&args.change)?;
    let (now, next) = release.on_trial()?;
    let pin = next.pin();
    release.kept(&pin)?;
    let (stable, next) = match args.stage {
        PromoteTo::Full => {
            args.trial.refuse()?;
            (pin, None)
        }
        PromoteTo::Canary => {
            let before = (next.share, next.min_requests, next.max_failures);
            let changed = args.trial.of(pin, Stage::Canary, before);
            ensure!(
                changed != *next,
                "it is that canary already; say another --share, or leave --stage out to release it to all"
            );
            (now.stable.clone(), Some(changed))
        }
    };
    release.publish(stable, next, None)
}

/// End a trial: the stable bundle answers everybody again.
///
/// Example: tiercast deploy withdraw --to r2:shop-bundles --key release.key
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct WithdrawArgs {
    /// Where, and with which key.
    #[command(flatten)]
    pub change: Change,
}

fn withdraw(args: &WithdrawArgs) -> anyhow::Result<()> {
    let release = Release::begin(&args.change)?;
    let stable = release.on_trial()?.0.stable.clone();
    release.publish(stable, None, None)
}

/// Go back to an earlier bundle that is still in the store; it becomes the stable one, and a trial ends.
///
/// It is a new release with a serial of its own. The bundle is read from the store, must have this hash, and must prove itself.
///
/// Example: tiercast deploy back --to r2:shop-bundles --key release.key --sha256 5f0c…
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct BackArgs {
    /// Where, and with which key.
    #[command(flatten)]
    pub change: Change,
    /// The bundle's SHA-256, 64 digits; each release that replaces a bundle prints it.
    #[arg(long, value_name = "HEX")]
    pub sha256: String,
}

fn back(args: &BackArgs) -> anyhow::Result<()> {
    let sha256 = args.sha256.to_ascii_lowercase();
    release::check_sha256(&sha256).context("--sha256")?;
    let release = Release::begin(&args.change)?;
    let now = release.in_place()?;
    ensure!(
        now.stable.sha256 != sha256,
        "this bundle is the stable one already; a trial is ended with `tiercast deploy withdraw`"
    );
    let bytes = release.kept(&Pin { sha256, bytes: 0 })?;
    runnable(&bytes).context("the bundle in the store")?;
    release.publish(Pin::of(&bytes), None, None)
}

/// Say what is released.
///
/// With the public key, which workers have as TIERCAST_RELEASE_KEY, the signature is verified; an invalid one is an error.
///
/// Example: tiercast deploy status --to r2:shop-bundles --public-key 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct StatusArgs {
    /// Where releases lie.
    #[command(flatten)]
    pub store: Store,
    /// The public key that `tiercast deploy key` printed.
    #[arg(long, value_name = "BASE64")]
    pub public_key: Option<PublicKey>,
    /// Print JSON: the release's payload or null, and whether its signature was verified.
    #[arg(long)]
    pub json: bool,
}

fn status(args: &StatusArgs) -> anyhow::Result<()> {
    args.store.check()?;
    let key = args.public_key.as_ref();
    let now = args.store.get(release::NAME)?.map(|text| Payload::open(&text, key)).transpose().with_context(
        || {
            format!(
                "{} in {} is not to be relied on, and workers refuse it",
                release::NAME,
                args.store.address
            )
        },
    )?;
    if args.json {
        let verified = key.is_some() && now.is_some();
        say!("{}", serde_json::to_string_pretty(&json!({"release": now, "verified": verified}))?);
        return Ok(());
    }
    show(&args.store, now.as_ref());
    match (now, key) {
        (None, _) => {}
        (_, Some(_)) => say!("signed with this key"),
        (_, None) => say!("the signature was not verified; --public-key does that"),
    }
    Ok(())
}
