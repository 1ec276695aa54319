//! A policy's folder: policy.json, by which it goes into a bundle, policy.onnx, and report.html for people.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, bail};
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tiercast_core::{Action, Evidence, Learned, Period, Policy, Transform};

use super::{
    page,
    train::{Learner, TaskArg, choice},
};
use crate::{
    models::policy::ope::{Estimate, Evaluation, Gate, Kind},
    whole,
};

/// The version of `policy.json`.
pub const FORMAT: u32 = 1;
/// The files of a policy's folder.
pub const JSON: &str = "policy.json";
/// The net.
pub const ONNX: &str = "policy.onnx";

/// What a policy's folder says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The program and version that wrote it.
    pub producer: String,
    /// The project's name.
    pub project: String,
    /// Which features it reads.
    pub schema_hash: String,
    /// What is decided.
    pub task: TaskArg,
    /// What the shop calls it.
    pub name: String,
    /// How it was learned.
    pub learner: Learner,
    /// Units of the hidden layer.
    pub hidden: usize,
    /// How much a member's next decision counts.
    pub discount: f64,
    /// Share of the decisions that is spread evenly over all actions.
    pub explore: f32,
    /// By how much a better tier must be worth more than the member's own.
    pub margin: f32,
    /// Tiers above what the rules promise that a member is lifted at most.
    pub lift: u8,
    /// Points that a member is given in a period at most; 0 is no cap.
    pub cap: u64,
    /// Mean cost of a decision at most.
    pub budget: Option<f64>,
    /// The stretch of time that a decision holds for.
    pub period: Period,
    /// What all draws are made of.
    pub seed: u64,
    /// The currency of rewards and costs.
    pub currency: String,
    /// What there is to choose from.
    pub actions: Vec<ActionRecord>,
    /// SHA-256 of policy.onnx, which is what was judged.
    pub onnx: String,
    /// The fitted steps between raw features and the net.
    pub transform: Transform,
    /// The decisions that it was learned from.
    pub train: Span,
    /// Those that judge it.
    pub test: Span,
    /// What it earns a decision after its cost.
    pub evaluation: Evaluation,
    /// What a decision costs.
    pub cost: Estimate,
    /// What anybody would try first, judged on the same rows.
    pub others: Vec<(String, Evaluation)>,
    /// What is so, where the log is simulated and says it.
    pub truth: Option<Truth>,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionRecord {
    /// Its name in the log.
    pub name: String,
    /// Points that it offers.
    pub points: u64,
    /// Share of the test's decisions that the policy gives it.
    pub share: f64,
    /// Share that the log gave it.
    pub logged: f64,
}

/// Some of a log's decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The first period's start.
    pub from: String,
    /// The last period's start.
    pub to: String,
    /// Decisions.
    pub rows: usize,
    /// Members whose they are.
    pub members: usize,
}

/// What a simulator knows of the test's decisions; means of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Truth {
    /// What the policy earns after its cost.
    pub value: f64,
    /// What it costs.
    pub cost: f64,
    /// What the log's decisions earn after their cost.
    pub incumbent: f64,
    /// What the best decisions would.
    pub best: f64,
}

/// What is learned, without evidence.
pub(super) fn learned(learner: Learner, transform: Transform, explore: f32, margin: f32) -> Learned {
    let (learner, choice) = (learner.name().into(), choice(learner, margin));
    Learned { learner, transform, choice, explore, evidence: Evidence::default() }
}

/// The SHA-256 of a file, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a policy's folder, policy.json last.
pub(super) fn write(folder: &Path, record: &PolicyRecord, onnx: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    whole::write(&folder.join(ONNX), onnx)?;
    whole::write(&folder.join("report.html"), page::html(record)?.as_bytes())?;
    whole::write(&folder.join(JSON), (serde_json::to_string_pretty(record)? + "\n").as_bytes())
}

/// Reads a policy's folder.
///
/// # Errors
/// When it is none, or of another version.
pub fn read(folder: &Path) -> anyhow::Result<(PolicyRecord, Vec<u8>)> {
    let open = |name: &str| {
        let path = folder.join(name);
        fs::read(&path)
            .with_context(|| format!("cannot read {}; `tiercast policy train` writes it", path.display()))
    };
    let json: serde_json::Value = serde_json::from_slice(&open(JSON)?)
        .with_context(|| format!("{} is not JSON", folder.join(JSON).display()))?;
    if json["format"] != FORMAT {
        bail!("{} has format {}; this build reads {FORMAT}", folder.join(JSON).display(), json["format"]);
    }
    let record = serde_json::from_value(json).with_context(|| folder.join(JSON).display().to_string())?;
    Ok((record, open(ONNX)?))
}

impl PolicyRecord {
    /// The policy, with its evidence by an interval.
    pub fn policy(&self, gate: &Gate) -> Policy {
        let judged = self.evaluation.judged();
        let interval = judged.interval(gate.interval);
        let kind = match gate.interval {
            Kind::Bootstrap => "bootstrap",
            Kind::Bernstein => "empirical Bernstein",
        };
        let evidence = Evidence {
            method: format!("doubly robust, {kind} {:.0} %", 100.0 * self.evaluation.level),
            value: judged.value,
            lower: interval.low,
            upper: interval.high,
            incumbent: self.evaluation.incumbent.value,
            rows: self.evaluation.rows as u64,
            effective_rows: self.evaluation.weights.effective_rows,
            cost: self.cost.value,
            budget: self.budget.unwrap_or_default(),
        };
        let learned = learned(self.learner, self.transform.clone(), self.explore, self.margin);
        let action =
            |action: &ActionRecord| Action { name: action.name.clone(), points: action.points, share: 0.0 };
        Policy {
            name: self.name.clone(),
            actions: self.actions.iter().map(action).collect(),
            period: self.period,
            salt: self.seed,
            cap: self.cap,
            lift: self.lift,
            learned: Some(Learned { evidence, ..learned }),
        }
    }

    /// Everything that stands against the policy, in words; empty for one that is proven.
    pub fn refusals(&self, gate: &Gate) -> Vec<String> {
        let refused = self.evaluation.proven(gate).err().unwrap_or_default();
        let mut refusals: Vec<String> = refused.iter().map(ToString::to_string).collect();
        if let Some(budget) = self.budget
            && self.cost.interval(gate.interval).low > budget
        {
            refusals.push(format!(
                "a decision costs {:.4} and may cost {budget:.4}: learn with a smaller budget, or grant more",
                self.cost.value
            ));
        }
        refusals
    }

    /// What the command says at its end.
    pub fn words(&self) -> String {
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            let _ = text.write_fmt(words);
            text.push('\n');
        };
        let (train, test) = (&self.train, &self.test);
        line(format_args!(
            "{} learned from {} decisions on {} members, {} to {}",
            self.learner.name(),
            HumanCount(train.rows as u64),
            HumanCount(train.members as u64),
            train.from,
            train.to
        ));
        line(format_args!(
            "judged on {} later ones, {} to {}; {} a decision, after its cost, doubly robust, 95 %",
            HumanCount(test.rows as u64),
            test.from,
            test.to,
            self.currency
        ));
        let row = |name: &str, estimate: &Estimate, rows: f64| {
            let Estimate { value, bootstrap, .. } = estimate;
            format!(
                "  {name:<28} {value:>9.4}  {:>9.4} … {:<9.4} {rows:>8.0} rows",
                bootstrap.low, bootstrap.high
            )
        };
        let in_force = &self.evaluation.incumbent;
        line(format_args!("{}", row("as logged", in_force, self.evaluation.rows as f64)));
        for (name, evaluation) in &self.others {
            line(format_args!("{}", row(name, evaluation.judged(), evaluation.weights.effective_rows)));
        }
        let rows = self.evaluation.weights.effective_rows;
        line(format_args!("{}", row(&self.name, self.evaluation.judged(), rows)));
        let shares =
            self.actions.iter().map(|action| format!("{} {:.1} %", action.name, 100.0 * action.share));
        line(format_args!("it takes {}", shares.collect::<Vec<_>>().join(", ")));
        let budget = self.budget.map_or(String::new(), |budget| format!(", of {budget:.4} that it may"));
        line(format_args!("a decision costs {:.4}{budget}", self.cost.value));
        if let Some(Truth { value, cost, incumbent, best }) = self.truth {
            line(format_args!(
                "the simulator knows: it earns {value:.4} at a cost of {cost:.4}, the log {incumbent:.4}, the best decisions {best:.4}"
            ));
        }
        let refusals = self.refusals(&Gate::default());
        match refusals.is_empty() {
            true => line(format_args!("proven: it earns more than what was logged")),
            false => refusals.iter().for_each(|refusal| line(format_args!("not proven: {refusal}"))),
        }
        text
    }
}
