//! Looks for better settings than the defaults, for the models that have any.
//!
//! Random search (Bergstra & Bengio 2012) with successive halving (Jamieson & Talwalkar 2016) whose resource is the folds of
//! the cross-validation: the trials of a round are all judged on the first fold, the better half of them on the second, and
//! so on. Rounds are small, so that a search which time cuts short has whole ones to choose from. The defaults are judged
//! on every fold and stay, unless the best trial's loss is less by more than one standard error of the difference.
//!
//! Invariant: it sees the folds of the training rows and nothing else, and without a time box it gives the same, whatever
//! the number of threads and however often it was stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folds::{self, Prepared};
use crate::{
    device::Device,
    metrics::Estimate,
    models::{self, Fitting, Kind, Model, Params},
    progress,
};

pub(super) mod ledger;

use ledger::{Head, Ledger, Line};

/// The file in the run's folder.
pub const FILE: &str = "search.jsonl";
/// Trials of a round.
const ROUND: usize = 16;
/// Share of the time left that the first fold of a round has in a time box: the other folds take as long again, and longer
/// where fits differ and there are too few for all threads.
const FIRST_FOLD: f64 = 0.33;
/// A probability counts as this at least, so that one certain miss does not decide.
const LEAST: f64 = 1e-7;

/// How long to search, and by what.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Trials of each model, the defaults among them; as many as there is time for without it.
    pub(super) trials: Option<usize>,
    /// Time for all models together.
    pub(super) budget: Option<Duration>,
    /// Decides what is tried.
    pub(super) seed: u64,
    /// Where networks are trained.
    pub(super) device: Device,
    /// Fits at the same time.
    pub(super) threads: usize,
}

/// What came of a search for one model's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Searched {
    /// Trials that were judged on a fold at least, the defaults among them.
    pub trials: usize,
    /// Those that were judged on every fold.
    pub finalists: usize,
    /// Whether time ended it.
    pub cut_short: bool,
    /// The log-loss in cross-validation with the default settings, each member counting once; none where there was no time
    /// for it.
    pub default_loss: Option<f64>,
    /// The best other finalist.
    pub best: Option<Best>,
    /// Whether the model is trained with the best one's settings: its loss is less by more than a standard error.
    pub replaced: bool,
}

/// The best trial that is not the default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Best {
    /// Its number.
    pub trial: usize,
    /// What it was set to.
    pub settings: Value,
    /// Its log-loss, likewise.
    pub loss: f64,
    /// How much more that is than with the defaults, with its 95 % interval over members; that it is the best of several
    /// is not in the interval.
    pub difference: Estimate,
}

/// The settings to train with, and how they were found, of each model that has some.
pub(super) type Found = BTreeMap<Kind, (Params, Searched)>;

/// Searches for the settings of every kind that has some, and keeps what it learns in a file.
///
/// # Errors
/// When no kind has any, the file is of another search, or a model cannot be trained with its defaults.
pub(super) fn run(plan: &Plan, kinds: &[Kind], folds: &[Prepared], file: &Path) -> anyhow::Result<Found> {
    let kinds: Vec<Kind> = kinds.iter().copied().filter(|kind| Params::has(*kind)).collect();
    if kinds.is_empty() {
        bail!(
            "no model of this project has settings to search for; add \"boosting\" or \"dnn\" to [train] models"
        );
    }
    let ledger = Ledger::open(file, Head::new(folds, plan.seed, plan.device.name()))?;
    let bar = match plan.trials {
        Some(trials) => progress::search(planned(trials, folds.len()) * kinds.len()),
        None => progress::spinner(""),
    };
    let began = Instant::now();
    let mut found = Found::new();
    for (at, kind) in kinds.iter().enumerate() {
        // What a model leaves of its share of the time, the next ones have.
        let share = (at + 1) as f64 / kinds.len() as f64;
        let until = plan.budget.map(|budget| began + budget.mul_f64(share));
        let defaults = folds.iter().map(|_| OnceLock::new()).collect();
        let stands = Mutex::new(String::new());
        let search = Search { plan, kind: *kind, folds, until, ledger: &ledger, bar: &bar, defaults, stands };
        found.insert(*kind, search.run()?);
    }
    bar.finish_and_clear();
    ledger.close()?;
    Ok(found)
}

/// Fits that so many trials take.
fn planned(trials: usize, folds: usize) -> usize {
    let rounds = (1..trials).step_by(ROUND).map(|first| ROUND.min(trials - first));
    let of_round = |size: usize| -> usize {
        std::iter::successors(Some(size), |left| Some(left.div_ceil(2))).take(folds).sum()
    };
    folds + rounds.map(of_round).sum::<usize>()
}

/// The search for one model's settings.
struct Search<'a> {
    plan: &'a Plan,
    kind: Kind,
    folds: &'a [Prepared],
    until: Option<Instant>,
    ledger: &'a Ledger,
    bar: &'a ProgressBar,
    /// What each member loses with the defaults, fold by fold, or why that is not known.
    defaults: Vec<OnceLock<Result<Vec<f64>, String>>>,
    /// How it stands, for whoever waits.
    stands: Mutex<String>,
}

impl Search<'_> {
    fn run(&self) -> anyhow::Result<(Params, Searched)> {
        let mut searched = Searched {
            trials: 0,
            finalists: 0,
            cut_short: false,
            default_loss: None,
            best: None,
            replaced: false,
        };
        let defaults: Vec<(usize, usize)> = (0..self.folds.len()).map(|fold| (0, fold)).collect();
        let defaults = self.judge_all(&defaults, self.until)?;
        let Some(defaults) = defaults.into_iter().collect::<Option<Vec<Line>>>() else {
            return Ok((Params::default(), Searched { cut_short: true, ..searched }));
        };
        let mut of_defaults = Tally::default();
        defaults.iter().for_each(|line| of_defaults.add(line));
        searched.default_loss = Some(of_defaults.loss());
        (searched.trials, searched.finalists) = (1, 1);
        let mut best: Option<(usize, Tally)> = None;
        let limit = self.plan.trials.unwrap_or(usize::MAX);
        let (mut numbers, mut waiting) = (1..limit, Vec::new());
        loop {
            waiting.extend(numbers.by_ref().take(ROUND - waiting.len()));
            let round = self.round(&waiting)?;
            if round.begun.is_empty() {
                break;
            }
            waiting.retain(|trial| !round.begun.contains(trial));
            searched.trials += round.begun.len();
            searched.finalists += round.finalists.len();
            searched.cut_short |= round.cut_short;
            best = best.into_iter().chain(round.finalists).min_by(|a, b| a.1.loss().total_cmp(&b.1.loss()));
            self.show(&searched, best.as_ref());
        }
        searched.cut_short |= searched.trials < limit;
        Ok(self.choose(searched, best))
    }

    /// Judges trials fold by fold, each time the better half of the ones before.
    ///
    /// In a time box it begins only as many of them as there is likely to be time for on every fold.
    fn round(&self, trials: &[usize]) -> anyhow::Result<Round> {
        let mut round = Round::default();
        let mut left: Vec<(usize, Tally)> = trials.iter().map(|trial| (*trial, Tally::default())).collect();
        for fold in 0..self.folds.len() {
            left.sort_by(|a, b| a.1.loss().total_cmp(&b.1.loss()).then(a.0.cmp(&b.0)));
            left.truncate(if fold == 0 { left.len() } else { left.len().div_ceil(2) });
            let now = Instant::now();
            let until = self.until.map(|until| match fold {
                0 => now + until.saturating_duration_since(now).mul_f64(FIRST_FOLD),
                _ => until,
            });
            let jobs: Vec<(usize, usize)> = left.iter().map(|(trial, _)| (*trial, fold)).collect();
            let lines = self.judge_all(&jobs, until)?;
            round.cut_short |= fold > 0 && lines.iter().any(Option::is_none);
            let known = left.into_iter().zip(lines).filter_map(|((trial, mut tally), line)| {
                tally.add(&line?);
                Some((trial, tally))
            });
            left = known.collect();
            if fold == 0 {
                round.begun = left.iter().map(|(trial, _)| *trial).collect();
            }
        }
        round.finalists = left;
        Ok(round)
    }

    /// Each of these trials on its fold; none where it was not begun because the time is over.
    fn judge_all(
        &self,
        jobs: &[(usize, usize)],
        until: Option<Instant>,
    ) -> anyhow::Result<Vec<Option<Line>>> {
        let judge = |at: usize| {
            self.tell();
            let line = self.judge(jobs[at], until);
            self.bar.inc(1);
            line
        };
        folds::side_by_side(jobs.len(), self.plan.threads, judge)?.into_iter().collect()
    }

    fn judge(&self, (trial, fold): (usize, usize), until: Option<Instant>) -> anyhow::Result<Option<Line>> {
        let params = Params::trial(self.kind, trial, self.plan.seed);
        let settings = params.of(self.kind);
        if let Some(line) = self.ledger.get(self.kind, trial, fold + 1, &settings)? {
            return Ok(Some(line));
        }
        let is_over = || until.is_some_and(|until| Instant::now() >= until);
        if is_over() {
            return Ok(None);
        }
        // After a resume the defaults may have to be trained first, and then the time may be over.
        let defaults = self.defaults(fold)?;
        if trial > 0 && is_over() {
            return Ok(None);
        }
        let losses = match trial {
            0 => Some(defaults.to_vec()),
            // What cannot be trained so is the worst of all trials, and no reason to end the search.
            _ => self.losses(&params, fold).ok(),
        };
        let (mut difference, mut squares) = (0.0, 0.0);
        for (a, b) in losses.iter().flatten().zip(defaults) {
            difference += a - b;
            squares += (a - b) * (a - b);
        }
        let members = members(&self.folds[fold].held_out.member);
        let loss = losses.map(|losses| losses.iter().sum::<f64>() / f64::from(members.max(1)));
        let model = self.kind.name().into();
        let line = Line { model, trial, fold: fold + 1, settings, members, loss, difference, squares };
        self.ledger.add(&line).map(Some)
    }

    /// What each member of a fold loses with the defaults.
    fn defaults(&self, fold: usize) -> anyhow::Result<&[f64]> {
        let losses = || self.losses(&Params::default(), fold).map_err(|error| format!("{error:#}"));
        match self.defaults[fold].get_or_init(losses) {
            Ok(losses) => Ok(losses),
            Err(error) => bail!("{} cannot be trained with its defaults: {error}", self.kind.name()),
        }
    }

    /// What each member of a fold loses.
    ///
    /// # Errors
    /// When the model cannot be trained, or its loss is not finite.
    fn losses(&self, params: &Params, fold: usize) -> anyhow::Result<Vec<f64>> {
        let split = &self.folds[fold];
        // The seed is that of the final training: the model chosen is the one that was judged.
        let seed = folds::seed_of(self.plan.seed, self.kind, split);
        let fitting = Fitting { params, seed, device: &self.plan.device, stream: None };
        let fitted = models::fit_with(self.kind, &fitting, split.rules.len(), &split.train)?;
        let losses = by_member(&fitted.model, split);
        ensure!(losses.iter().all(|loss| loss.is_finite()), "its loss is not finite");
        Ok(losses)
    }

    /// The best trial if it is better than the defaults by more than a standard error, else these.
    fn choose(&self, searched: Searched, best: Option<(usize, Tally)>) -> (Params, Searched) {
        let Some((trial, tally)) = best.filter(|(_, tally)| tally.loss().is_finite()) else {
            return (Params::default(), searched);
        };
        let params = Params::trial(self.kind, trial, self.plan.seed);
        let (mean, error) = (tally.mean(), tally.error());
        let replaced = mean + error < 0.0;
        let difference = Estimate { value: mean, low: mean - 1.96 * error, high: mean + 1.96 * error };
        let best = Best { trial, settings: params.of(self.kind), loss: tally.loss(), difference };
        let chosen = if replaced { params } else { Params::default() };
        (chosen, Searched { best: Some(best), replaced, ..searched })
    }

    fn show(&self, searched: &Searched, best: Option<&(usize, Tally)>) {
        let best = best.map_or_else(String::new, |(_, tally)| format!("{:.4}, ", tally.loss()));
        let defaults = searched.default_loss.unwrap_or(f64::INFINITY);
        if let Ok(mut stands) = self.stands.lock() {
            *stands = format!(": {} trials, log-loss {best}defaults {defaults:.4}", searched.trials);
        }
        self.tell();
    }

    /// Says how it stands, and what is left of a time box.
    fn tell(&self) {
        let left = self.until.map_or_else(String::new, |until| {
            format!(", {} s left for it", until.saturating_duration_since(Instant::now()).as_secs())
        });
        if let Ok(stands) = self.stands.lock() {
            self.bar.set_message(format!("settings of {}{stands}{left}", self.kind.name()));
        }
    }
}

/// What came of a round.
#[derive(Default)]
struct Round {
    /// The trials judged on the first fold.
    begun: Vec<usize>,
    /// Those judged on every fold.
    finalists: Vec<(usize, Tally)>,
    /// Whether there was no time for one of the better half.
    cut_short: bool,
}

/// What a trial's lines come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    members: f64,
    total: f64,
    difference: f64,
    squares: f64,
}

impl Tally {
    fn add(&mut self, line: &Line) {
        let members = f64::from(line.members);
        self.members += members;
        self.total += line.loss.map_or(f64::INFINITY, |loss| loss * members);
        self.difference += line.difference;
        self.squares += line.squares;
    }

    fn loss(&self) -> f64 {
        self.total / self.members.max(1.0)
    }

    /// The mean difference from the defaults.
    fn mean(&self) -> f64 {
        self.difference / self.members.max(1.0)
    }

    /// Its standard error.
    fn error(&self) -> f64 {
        let spread = (self.squares - self.members * self.mean().powi(2)).max(0.0);
        (spread / (self.members - 1.0).max(1.0) / self.members.max(1.0)).sqrt()
    }
}

/// The mean log-loss of each member's held-out rows, in the order of the members' numbers.
fn by_member(model: &Model, split: &Prepared) -> Vec<f64> {
    let rows = &split.held_out;
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    let probabilities = model.probabilities(rows);
    for (at, p) in probabilities.chunks_exact(split.rules.len()).enumerate() {
        let p = f64::from(p[usize::from(rows.targets[at]) - 1]);
        let sum = sums.entry(rows.member[at]).or_default();
        *sum = (sum.0 - p.clamp(LEAST, 1.0).ln(), sum.1 + 1.0);
    }
    sums.into_values().map(|(sum, rows)| sum / rows).collect()
}

fn members(of_rows: &[u32]) -> u32 {
    of_rows.iter().collect::<BTreeSet<_>>().len() as u32
}

/// `90s`, `10m` or `2h`.
///
/// # Errors
/// When it is none of these, or no time at all.
pub(super) fn duration(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit));
    let seconds = seconds.filter(|seconds| (1..=86_400 * 365).contains(seconds));
    Ok(Duration::from_secs(seconds.context("write a whole number and a unit: 90s, 10m or 2h")?))
}

#[cfg(test)]
mod tests;
