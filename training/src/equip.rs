//! `tiercast bundle`: policies that were proven, experiments, or what judges risk go into a bundle.
//!
//! Invariant: nothing that was learned and does not beat what was done before leaves this command, and core would refuse to
//! write or to load it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use indicatif::HumanBytes;
use tiercast_core::{
    Action, Bundle, BundleParts, LowerOptions, OnnxModel, Period, Policy, RiskEvidence, Task, lower,
};

use crate::{
    bundle,
    models::policy::ope::{Gate, Kind},
    policy::{
        record,
        train::{PeriodArg, TaskArg},
    },
    whole,
};

/// Put policies into a bundle: proven ones, or an experiment; and what judges risk.
///
/// A learned policy goes in if the log proves it: the lower end of its value's interval lies above what the policy in force
/// earned on the same decisions, the paired difference's above 0, the log reaches where the policy goes, and the budget is
/// kept. Otherwise the command says by how much it falls short, and writes nothing.
///
/// An experiment draws by declared shares. It is how a first log comes about: run it, log each decision with its propensity,
/// and learn from the log.
///
/// --risk puts in what `tiercast risk train` learned.
///
/// Example: tiercast bundle run/bundle.tcb policy -o shop.tcb
/// Example: tiercast bundle run/bundle.tcb --risk risk -o shop.tcb
/// Example: tiercast bundle run/bundle.tcb --experiment reward --share none=0.5 --share "50 points:50=0.3" \
///              --share "200 points:200=0.2" -o shop.tcb
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The bundle.
    pub bundle: PathBuf,
    /// Folders that `tiercast policy train` wrote.
    #[arg(required_unless_present_any = ["experiment", "risk"])]
    pub policies: Vec<PathBuf>,
    /// Where to write the new bundle.
    #[arg(short, long, value_name = "BUNDLE.tcb")]
    pub output: PathBuf,
    /// A folder that `tiercast risk train` wrote.
    #[arg(long, value_name = "FOLDER")]
    pub risk: Option<PathBuf>,
    /// Put in an experiment: offers of points, or tiers.
    #[arg(long, value_enum, requires = "share")]
    pub experiment: Option<TaskArg>,
    /// An action of the experiment with its points and its share of the decisions; once for each. Tiers have no points.
    #[arg(long, value_name = "NAME[:POINTS]=SHARE", requires = "experiment")]
    pub share: Vec<String>,
    /// What the experiment is called.
    #[arg(long, default_value = "experiment", requires = "experiment")]
    pub name: String,
    /// The stretch of time that a decision of the experiment holds for; that of the tiers for tiers.
    #[arg(long, value_enum, default_value = "month")]
    pub period: PeriodArg,
    /// Sets the experiment's draws apart from those of others.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Which interval a learned policy is judged by.
    #[arg(long, value_enum, default_value = "bootstrap")]
    pub bound: Bound,
}

/// Which interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bound {
    /// Percentiles over resampled members.
    Bootstrap,
    /// The empirical Bernstein bound: right for any number of members, and wide.
    Bernstein,
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read, a policy is not proven or is for another bundle, and when the output is one of the inputs.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    whole::refuse_inputs(&args.output, [&args.bundle])?;
    let bytes = fs::read(&args.bundle).with_context(|| format!("cannot read {}", args.bundle.display()))?;
    let mut parts = Bundle::parts(&bytes).with_context(|| args.bundle.display().to_string())?;
    let interval = match args.bound {
        Bound::Bootstrap => Kind::Bootstrap,
        Bound::Bernstein => Kind::Bernstein,
    };
    let gate = Gate { interval, ..Gate::default() };
    for folder in &args.policies {
        add(&mut parts, folder, &gate)?;
    }
    if let Some(task) = args.experiment {
        let policy = args.experiment(task.into(), &parts)?;
        say!("{}: {} draws by its shares", Task::from(task).name(), policy.name);
        parts.policies.put(task.into(), policy, Vec::new());
    }
    if let Some(folder) = &args.risk {
        add_risk(&mut parts, folder)?;
    }
    let written = bundle::renew(parts, &args.bundle, "what was put in fails on made-up members")?;
    whole::write(&args.output, &written)?;
    say!("{}: {}", args.output.display(), HumanBytes(written.len() as u64));
    Ok(ExitCode::SUCCESS)
}

/// Puts a folder's policy in its task's place.
fn add(parts: &mut BundleParts, folder: &Path, gate: &Gate) -> anyhow::Result<()> {
    let (record, onnx) = record::read(folder)?;
    ensure!(
        record.schema_hash == parts.manifest.schema_hash,
        "{} was learned for other features than the bundle has; learn it again with `tiercast policy train`",
        folder.display()
    );
    let refusals = record.refusals(gate);
    if !refusals.is_empty() {
        bail!("{} is not proven, so nothing was written:\n  {}", folder.display(), refusals.join("\n  "));
    }
    let policy = record.policy(gate);
    // Evidence is of the net that was judged, so another one in its place must not pass for it.
    let (width, actions) = (record.transform.width(), policy.actions.len());
    OnnxModel::load(&onnx, width, actions).with_context(|| format!("the net of {}", folder.display()))?;
    ensure!(
        record.onnx == record::digest(&onnx),
        "{} is not the net that was judged; learn the policy again",
        folder.join(record::ONNX).display()
    );
    let task = Task::from(record.task);
    let judged = record.evaluation.judged();
    let interval = judged.interval(gate.interval);
    say!(
        "{}: {} earns {:.4} a decision ({:.4} … {:.4}) against {:.4}: proven",
        task.name(),
        policy.name,
        judged.value,
        interval.low,
        interval.high,
        record.evaluation.incumbent.value
    );
    parts.policies.put(task, policy, lower(&onnx, &LowerOptions::default())?.write());
    Ok(())
}

/// Puts a folder's risk model in its place.
fn add_risk(parts: &mut BundleParts, folder: &Path) -> anyhow::Result<()> {
    let (record, onnx) = crate::risk::folder::read(folder)?;
    ensure!(
        record.schema_hash == parts.manifest.schema_hash,
        "{} was learned for other features than the bundle has; learn it again with `tiercast risk train`",
        folder.display()
    );
    OnnxModel::load(&onnx, record.transform.width(), 2)
        .with_context(|| format!("the trees of {}", folder.display()))?;
    let RiskEvidence { recall, alerts, rule_recall, .. } = record.evidence;
    say!(
        "risk: {} finds {:.1} % of the frauds with {:.2} % alerts, the best pair of thresholds {:.1} %",
        record.name,
        100.0 * recall,
        100.0 * alerts,
        100.0 * rule_recall
    );
    parts.risk = Some((record.model(), lower(&onnx, &LowerOptions::default())?.write()));
    Ok(())
}

impl Args {
    fn experiment(&self, task: Task, parts: &BundleParts) -> anyhow::Result<Policy> {
        let period = match task {
            Task::Assign => parts.rules.period,
            Task::Reward => Period::from(self.period),
        };
        Ok(Policy {
            name: self.name.clone(),
            actions: self.share.iter().map(|share| action(share)).collect::<anyhow::Result<_>>()?,
            period,
            salt: self.seed,
            cap: 0,
            lift: u8::MAX,
            learned: None,
        })
    }
}

/// Reads `NAME[:POINTS]=SHARE`.
fn action(text: &str) -> anyhow::Result<Action> {
    let wrong = || {
        format!(
            "--share {text:?}: write NAME=SHARE or NAME:POINTS=SHARE, as none=0.5 or \"50 points:50=0.5\""
        )
    };
    let (named, share) = text.rsplit_once('=').with_context(wrong)?;
    let share = share.trim().parse().with_context(wrong)?;
    let (name, points) = match named.rsplit_once(':') {
        Some((name, points)) => (name, points.trim().parse().with_context(wrong)?),
        None => (named, 0),
    };
    Ok(Action { name: name.trim().into(), points, share })
}

#[cfg(test)]
mod tests;
