//! `campaign.json`: what was found, and what to know before trusting it.

use serde::Serialize;

use super::{Args, By, Joined, judge::Judged, targets::Target};
use crate::{
    evaluate::words,
    metrics::{Estimate, RESAMPLES},
    models::uplift::{self, budget},
    project::{Project, count},
};

/// The version of `campaign.json`.
pub(super) const FORMAT: u32 = 1;

/// `campaign.json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The version of this file.
    pub format: u32,
    /// What made it.
    pub producer: String,
    /// The project's name.
    pub project: String,
    /// The log, as it was named.
    pub log: String,
    /// The offer.
    pub offer: String,
    /// The ISO code of the currency that money is in.
    pub currency: String,
    /// Decisions that were compared.
    pub rows: usize,
    /// Those with the offer.
    pub treated: usize,
    /// Members that they are about.
    pub members: usize,
    /// Days of the first and of the last decision.
    pub days: [String; 2],
    /// What the offers of one round may be expected to cost.
    pub budget: f64,
    /// What a unit of the outcome is worth.
    pub value: f64,
    /// Whose uplift the list is made by: the first of `ways`.
    pub learner: String,
    /// Folds of members.
    pub folds: u8,
    /// The seed.
    pub seed: u64,
    /// Resamples of members behind each interval.
    pub resamples: usize,
    /// What was found, in a few words.
    pub headline: String,
    /// How much, and how sure.
    pub finding: String,
    /// What to know before trusting the figures.
    pub notes: Vec<String>,
    /// Ways of choosing.
    pub ways: Vec<WayRecord>,
    /// Gain after cost of the best choice at the budget, where a simulator's truth is in the log.
    pub oracle: Option<f64>,
    /// The list.
    pub list: List,
}

/// The list of `targets.parquet`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// Members that were decided about.
    pub members: usize,
    /// Those to treat.
    pub treat: usize,
    /// What treating them is expected to cost, within the budget.
    pub expected_cost: f64,
    /// What the model itself expects to gain after cost; choosing the highest makes it too high, so trust the measured gain.
    pub predicted_gain: f64,
}

/// A way of choosing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WayRecord {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Whom it puts first.
    pub about: String,
    /// Qini coefficient, money a decision; none where nobody comes first.
    pub qini: Option<Estimate>,
    /// Area under the uplift curve, likewise.
    pub auuc: Option<Estimate>,
    /// The Qini curve.
    pub curve: Option<Curve>,
    /// Its choice at the budget.
    pub chosen: Chosen,
    /// What a simulator says of it.
    pub truth: Option<Truth>,
}

/// A choice for one round of offers, measured on the log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chosen {
    /// Members treated.
    pub members: f64,
    /// What the model of costs expects, by which the budget is kept.
    pub expected_cost: f64,
    /// Whether that is within the budget.
    pub within_budget: bool,
    /// The cost that was measured.
    pub cost: Estimate,
    /// The outcome's value that is gained, before cost.
    pub gain: Estimate,
    /// The gain after cost.
    pub net: Estimate,
    /// Gain before cost for each unit of cost.
    pub per_unit: Option<f64>,
    /// By how much the list's way gains more after cost, on the same resamples; none for that way.
    pub behind: Option<Estimate>,
}

/// What a simulator says.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Truth {
    /// The share of the oracle's Qini coefficient.
    pub qini_share: Option<f64>,
    /// The true gain after cost of the choice, in expectation.
    pub net: f64,
    /// Its share of the oracle's.
    pub net_share: Option<f64>,
}

/// A Qini curve at each hundredth of the decisions.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Share of the decisions treated, 0 to 1.
    pub share: Vec<f64>,
    /// Value gained, money a decision.
    pub gained: Vec<f64>,
}

impl Curve {
    pub(super) fn of(curve: &uplift::qini::Curve) -> Self {
        let share: Vec<f64> = (0..=100).map(|at| f64::from(at) / 100.0).collect();
        let at = |share: &f64| {
            let above = curve.share.partition_point(|x| x < share).clamp(1, curve.share.len() - 1);
            let (x, y) = (&curve.share[above - 1..=above], &curve.qini[above - 1..=above]);
            let along = if x[1] > x[0] { (share - x[0]) / (x[1] - x[0]) } else { 0.0 };
            y[0] + along.clamp(0.0, 1.0) * (y[1] - y[0])
        };
        let gained =
            if curve.share.len() > 1 { share.iter().map(at).collect() } else { vec![0.0; share.len()] };
        Self { share, gained }
    }
}

/// Decisions of either kind below which figures are a first impression.
const FEW: usize = 1000;

impl Record {
    pub(super) fn new(
        project: &Project,
        args: &Args,
        joined: &Joined,
        judged: Judged,
        targets: &[Target],
    ) -> Self {
        let decisions = &joined.log.decisions;
        let mut members: Vec<&str> = decisions.iter().map(|decision| decision.member.as_str()).collect();
        members.sort_unstable();
        members.dedup();
        let treat: Vec<bool> = targets.iter().map(|target| target.treat).collect();
        let sum = |get: fn(&Target) -> f64| budget::sum(&treat, &targets.iter().map(get).collect::<Vec<_>>());
        let day = |decision: Option<&super::log::Decision>| decision.map_or(String::new(), |d| d.time.date());
        let mut record = Self {
            format: FORMAT,
            producer: format!("tiercast {}", env!("CARGO_PKG_VERSION")),
            project: project.name.clone(),
            log: args.log.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            offer: args.title().to_owned(),
            currency: project.currency.code.to_string(),
            rows: decisions.len(),
            treated: decisions.iter().filter(|decision| decision.treated).count(),
            members: members.len(),
            days: [day(decisions.first()), day(decisions.last())],
            budget: args.budget,
            value: args.value,
            learner: match args.learner {
                By::T => "T-learner",
                By::X => "X-learner",
            }
            .into(),
            folds: args.folds,
            seed: args.seed,
            resamples: RESAMPLES,
            headline: String::new(),
            finding: String::new(),
            notes: Vec::new(),
            ways: judged.ways,
            oracle: judged.oracle,
            list: List {
                members: targets.len(),
                treat: treat.iter().filter(|treat| **treat).count(),
                expected_cost: sum(|target| target.cost),
                predicted_gain: sum(|target| target.gain),
            },
        };
        (record.headline, record.finding) = record.words();
        record.notes = record.notes(joined);
        record
    }

    /// One of the ways, by name.
    pub(super) fn way(&self, name: &str) -> Option<&WayRecord> {
        self.ways.iter().find(|way| way.name == name)
    }

    fn words(&self) -> (String, String) {
        let Some(ours) = self.ways.first() else { return Default::default() };
        let (net, code) = (ours.chosen.net, &self.currency);
        let behind = self.way("random").and_then(|way| way.chosen.behind).unwrap_or_default();
        let headline = match () {
            () if net.low > 0.0 && behind.low > 0.0 => format!("Choosing whom to send {} pays", self.offer),
            () if net.low > 0.0 => format!("{} pays, whoever gets it", self.offer),
            () if net.high < 0.0 => format!("{} costs more than it brings", self.offer),
            () => format!("The log does not tell whether {} pays", self.offer),
        };
        let more = if behind.value < 0.0 { "less" } else { "more" };
        let (low, high) =
            if behind.value < 0.0 { (-behind.high, -behind.low) } else { (behind.low, behind.high) };
        let finding = format!(
            "A round for the {} members whom the {} puts first gains {} {code} after cost ({} to {}); \
             that is {} {code} {more} than as much spent by lot ({} to {}).",
            words::thousands(ours.chosen.members.round() as usize),
            self.learner,
            money(net.value),
            money(net.low),
            money(net.high),
            money(behind.value.abs()),
            money(low),
            money(high),
        );
        (headline, finding)
    }

    fn notes(&self, joined: &Joined) -> Vec<String> {
        let mut notes = Vec::new();
        let controls = self.rows - self.treated;
        if self.treated.min(controls) < FEW {
            notes.push(format!(
                "The log has {} with the offer and {} without: below {FEW} of either, take all figures as a first impression.",
                count(self.treated, "decision"),
                controls
            ));
        }
        if let Some(qini) = self.ways.first().and_then(|way| way.qini).filter(|qini| qini.low <= 0.0) {
            notes.push(format!(
                "The interval of the {}'s Qini coefficient ({:.3} to {:.3}) holds 0: with this log, its order is not surely \
                 better than chance.",
                self.learner, qini.low, qini.high
            ));
        }
        if self.oracle.is_some() {
            notes.push("Responses in this log are simulated: it says how methods do, and nothing of the shop's members.".into());
        }
        if joined.by_day {
            notes.push("The log has many different times: features are those of the start of each decision's day, UTC.".into());
        }
        if joined.unknown > 0 {
            notes.push(format!(
                "{} about members of whom the tables know nothing before it were left out.",
                count(joined.unknown, "decision")
            ));
        }
        if joined.log.others > 0 {
            notes.push(format!(
                "{} for other offers were not looked at.",
                count(joined.log.others, "decision")
            ));
        }
        notes.push(
            "Figures hold if the propensities are those by which decisions were made; if what moved a decision is not among \
             the features, an effect may be somebody's choice."
                .into(),
        );
        notes.push(
            "They are of one round: what offers do to later rounds (members tire, or wait for the next one) is not in them."
                .into(),
        );
        notes
    }

    /// The ways as lines for a terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let code = &self.currency;
        let head = format!(
            "  {:<14} {:>8} {:>10} {:>28} {:>8}  Qini coefficient",
            "way",
            "members",
            format!("cost {code}"),
            format!("gain after cost {code}"),
            "a unit"
        );
        let line = |way: &WayRecord| {
            let Chosen { members, cost, net, per_unit, .. } = &way.chosen;
            let interval = format!("{} ({} to {})", money(net.value), money(net.low), money(net.high));
            let qini = way.qini.map_or("–".into(), |q| {
                format!("{:.3} ({:.3} to {:.3})", q.value, q.low, q.high).replace('-', "−")
            });
            let truth = way.truth.filter(|_| way.chosen.within_budget).and_then(|truth| truth.net_share);
            let truth = truth.map_or(String::new(), |share| {
                format!("  {:.0} % of the oracle's gain", share * 100.0).replace('-', "−")
            });
            let unit = per_unit.map_or("–".into(), |unit| format!("{unit:.2}"));
            format!(
                "  {:<14} {members:>8.0} {:>10} {interval:>28} {unit:>8}  {qini}{truth}",
                way.title,
                money(cost.value)
            )
        };
        std::iter::once(head).chain(self.ways.iter().map(line)).collect()
    }
}

/// Money to read: whole units from 10 on, cents below.
pub(super) fn money(x: f64) -> String {
    let sign = if x < 0.0 { "−" } else { "" };
    match x.abs() {
        much if much >= 9.995 => format!("{sign}{}", words::thousands(much.round() as usize)),
        little if little < 0.005 => "0".into(),
        little => format!("{sign}{little:.2}"),
    }
}
