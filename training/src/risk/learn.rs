//! What is held against each other: models with labels, models without, and rules.
//!
//! Each is fitted twice: to the earlier rows, which gives scores of the later ones that choose and calibrate, and to all rows to learn from,
//! which gives scores of the test. Rounds, settings and calibration go from the first to the second.

use std::sync::Arc;

use serde_json::json;

use super::{
    evaluate::Args,
    record::{TriedRecord, ValidationRecord},
    rows::Rows,
    rule_file,
};
use crate::{
    models::{
        mix,
        risk::{
            Inputs, Labelled,
            autoencoder::{self, Autoencoder},
            calibration::Platt,
            curve,
            isolation::{self, Isolation},
            rules::Rules,
            supervised::{Learner, Settings, Supervised, Tried},
        },
        uplift::qini::Order,
    },
    progress,
    project::count,
};

mod rules;

/// All models, and what was learned about them.
pub(super) struct Learned {
    /// Those with labels first, the rules last.
    pub(super) models: Vec<Model>,
    /// Which of them is ours; none without labels.
    pub(super) chosen: Option<usize>,
    /// The version of a file of rules.
    pub(super) rules_version: Option<String>,
    /// The medians of the rows that were learned from.
    pub(super) typical: Vec<f32>,
}

/// A model with its scores.
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What it is, in words.
    pub(super) about: String,
    /// What it was fitted with.
    pub(super) settings: serde_json::Value,
    /// Of the later rows, by what was fitted to the earlier ones.
    pub(super) later: Vec<f64>,
    /// Of the rows that judge, by what was fitted to all rows to learn from.
    pub(super) test: Vec<f64>,
    /// Whether these are probabilities.
    pub(super) says_chances: bool,
    /// What the later rows say of it.
    pub(super) validation: Option<ValidationRecord>,
    /// All settings that were tried.
    pub(super) tried: Vec<TriedRecord>,
    scorer: Scorer,
}

/// What gives scores.
enum Scorer {
    Isolation(Arc<Unlabelled>),
    Autoencoder(Arc<Unlabelled>),
    Supervised(Box<Supervised>, Platt, Option<Arc<Unlabelled>>),
    Rules(Rules),
}

/// The two that know no labels.
struct Unlabelled {
    isolation: Isolation,
    autoencoder: Autoencoder,
}

impl Model {
    /// Scores in a unit of which differences make sense: logarithms of odds where there are probabilities.
    pub(super) fn scores(&self, inputs: &Inputs) -> Vec<f64> {
        self.scorer.scores(inputs)
    }

    /// Whether it is a rule, which is its own reason.
    pub(super) fn is_rule(&self) -> bool {
        matches!(self.scorer, Scorer::Rules(_))
    }
}

impl Scorer {
    fn scores(&self, inputs: &Inputs) -> Vec<f64> {
        match self {
            Self::Isolation(fitted) => fitted.isolation.scores(inputs),
            Self::Autoencoder(fitted) => fitted.autoencoder.scores(inputs),
            Self::Supervised(model, platt, beside) => {
                let scores = match beside {
                    Some(fitted) => model.scores(&fitted.beside(inputs)),
                    None => model.scores(inputs),
                };
                scores.into_iter().map(|score| platt.weight * score + platt.bias).collect()
            }
            Self::Rules(rules) => rules.scores(inputs),
        }
    }
}

impl Unlabelled {
    /// Fits both, the forest to all rows, the network to those that are not known to be frauds.
    fn fit(inputs: &Inputs, fraud: Option<&[bool]>, seed: u64) -> anyhow::Result<Self> {
        let usual = fraud.map(|fraud| {
            let places: Vec<usize> = (0..inputs.len()).filter(|at| !fraud[*at]).collect();
            inputs.select(&places)
        });
        let autoencoder =
            Autoencoder::fit(&autoencoder::Params::default(), usual.as_ref().unwrap_or(inputs), mix(seed))?;
        Ok(Self { isolation: Isolation::fit(&isolation::Params::default(), inputs, seed)?, autoencoder })
    }

    /// The inputs, and both scores as two more.
    fn beside(&self, inputs: &Inputs) -> Inputs {
        inputs.beside(&[&self.isolation.scores(inputs), &self.autoencoder.scores(inputs)])
    }
}

/// The parts of the rows.
struct Parts {
    earlier: Inputs,
    later: Inputs,
    train: Inputs,
    test: Inputs,
}

/// Fits everything.
///
/// # Errors
/// When rows are too few for a model, or a file of rules cannot be read.
pub(super) fn learn(args: &Args, rows: &Rows) -> anyhow::Result<Learned> {
    let places = |from: usize, to: usize| (from..to).collect::<Vec<_>>();
    let parts = Parts {
        earlier: rows.inputs.select(&places(0, rows.later)),
        later: rows.inputs.select(&places(rows.later, rows.test)),
        train: rows.inputs.select(&places(0, rows.test)),
        test: rows.inputs.select(&rows.judged),
    };
    let typical = parts.train.medians();
    match &rows.fraud {
        Some(fraud) => labelled(args, rows, &parts, fraud, typical),
        None => {
            let bar = progress::spinner("learning what is odd");
            let both = Arc::new(Unlabelled::fit(&parts.train, None, args.seed)?);
            bar.finish_and_clear();
            let models = vec![isolation(&both, &parts, None), autoencoder(&both, &parts, None)];
            Ok(Learned { models, chosen: None, rules_version: None, typical })
        }
    }
}

fn labelled(
    args: &Args,
    rows: &Rows,
    parts: &Parts,
    fraud: &[bool],
    typical: Vec<f32>,
) -> anyhow::Result<Learned> {
    let declared = args.rules.as_ref().map(|path| rule_file::read(path, &rows.names)).transpose()?;
    let earlier = Labelled { inputs: &parts.earlier, fraud: &fraud[..rows.later] };
    let later = Labelled { inputs: &parts.later, fraud: &fraud[rows.later..rows.test] };
    let train = Labelled { inputs: &parts.train, fraud: &fraud[..rows.test] };
    let (logistic, trees) = (Settings::logistic(), Settings::trees());
    let bar = progress::bar((logistic.len() + trees.len() + 6) as u64, "learning");
    let best = |settings: &[Settings], seed| -> anyhow::Result<(Tried, Vec<TriedRecord>)> {
        let mut all = Vec::new();
        let best = Tried::best(settings, &earlier, &later, seed, |tried| {
            bar.inc(1);
            let validation = ValidationRecord::new(tried.figures, Some(tried.log_loss));
            all.push(TriedRecord { settings: tried.settings, validation });
        })?;
        Ok((best, all))
    };
    let seed = |which: u64| mix(args.seed ^ mix(which));

    let before = Arc::new(Unlabelled::fit(&parts.earlier, Some(earlier.fraud), seed(1))?);
    let after = Arc::new(Unlabelled::fit(&parts.train, Some(train.fraud), seed(1))?);
    bar.inc(1);
    let best_logistic = best(&logistic, seed(2))?;
    let best_trees = best(&trees, seed(3))?;
    let plain = Settings { rounds: None, ..best_trees.0.settings };
    let [more_earlier, more_later, more_train] =
        [(&before, &parts.earlier), (&before, &parts.later), (&after, &parts.train)]
            .map(|(both, rows)| both.beside(rows));
    let hybrid = Tried::new(
        &plain,
        &Labelled { inputs: &more_earlier, ..earlier },
        &Labelled { inputs: &more_later, ..later },
        seed(3),
    )?;
    bar.inc(1);
    let mut models = Vec::new();
    let told = [
        ("logistic", "logistic regression", best_logistic, train, None, seed(2)),
        ("boosting", "boosted trees", best_trees, train, None, seed(3)),
        (
            "hybrid",
            "hybrid",
            (hybrid, Vec::new()),
            Labelled { inputs: &more_train, ..train },
            Some(&after),
            seed(3),
        ),
    ];
    for (name, title, tried, rows, beside, seed) in told {
        models.push(supervised((name, title), tried, &rows, beside, parts, seed)?);
        bar.inc(1);
    }
    let loss = |model: &Model| model.validation.and_then(|found| found.log_loss).unwrap_or(f64::INFINITY);
    let chosen = (0..models.len()).min_by(|a, b| loss(&models[*a]).total_cmp(&loss(&models[*b])));
    models.push(isolation(&before, parts, Some(&later)).tested(&after, parts));
    models.push(autoencoder(&before, parts, Some(&later)).tested(&after, parts));
    rules::made(args, rows, parts, (&earlier, &later, &train), &mut models)?;
    bar.inc(1);
    let rules_version = declared.as_ref().map(|file| file.version.clone());
    if let Some(file) = declared {
        models.push(rules::declared(file, rows, parts, &later)?);
    }
    bar.finish_and_clear();
    Ok(Learned { models, chosen, rules_version, typical })
}

fn supervised(
    (name, title): (&'static str, &'static str),
    (best, tried): (Tried, Vec<TriedRecord>),
    train: &Labelled<'_>,
    beside: Option<&Arc<Unlabelled>>,
    parts: &Parts,
    seed: u64,
) -> anyhow::Result<Model> {
    let Tried { settings, scores, platt, log_loss, figures, .. } = best;
    let fitted = Supervised::fit(&settings, train, seed)?;
    let scorer = Scorer::Supervised(Box::new(fitted), platt, beside.cloned());
    let chance = |odds: f64| crate::models::risk::calibration::logistic(odds);
    Ok(Model {
        name,
        title,
        about: about(&settings, beside.is_some()),
        settings: serde_json::to_value(settings)?,
        later: scores.iter().map(|score| platt.probability(*score)).collect(),
        test: scorer.scores(&parts.test).into_iter().map(chance).collect(),
        says_chances: true,
        validation: Some(ValidationRecord::new(figures, Some(log_loss))),
        tried,
        scorer,
    })
}

fn about(settings: &Settings, hybrid: bool) -> String {
    let rounds = settings.rounds.map_or(String::new(), |rounds| count(rounds as usize, "round"));
    let more =
        if hybrid { ", with the scores of isolation forest and autoencoder as two more inputs" } else { "" };
    match settings.learner {
        Learner::Logistic(penalty) => format!("logistic regression, L2 penalty {penalty:e}"),
        Learner::Trees(params) => format!(
            "mean of {} of boosted trees, {rounds}, {} leaves; each learns from all frauds and {:.0} % of the other rows{more}",
            count(settings.forests, "forest"),
            params.leaves,
            100.0 * settings.keep
        ),
    }
}

/// Figures of scores of the later rows.
fn validation(scores: &[f64], later: Option<&Labelled<'_>>) -> Option<ValidationRecord> {
    let figures = curve::figures(&Order::new(scores), later?.fraud, |_| 1.0)?;
    Some(ValidationRecord::new(figures, None))
}

fn isolation(both: &Arc<Unlabelled>, parts: &Parts, later: Option<&Labelled<'_>>) -> Model {
    let params = isolation::Params::default();
    let scorer = Scorer::Isolation(Arc::clone(both));
    let scores = scorer.scores(&parts.later);
    Model {
        name: "isolation",
        title: "isolation forest",
        about: format!(
            "{}, each grown on {} rows, without labels",
            count(params.trees, "tree"),
            params.sample
        ),
        settings: json!({ "trees": params.trees, "sample": params.sample }),
        validation: validation(&scores, later),
        tried: Vec::new(),
        later: scores,
        test: scorer.scores(&parts.test),
        says_chances: false,
        scorer,
    }
}

fn autoencoder(both: &Arc<Unlabelled>, parts: &Parts, later: Option<&Labelled<'_>>) -> Model {
    let scorer = Scorer::Autoencoder(Arc::clone(both));
    let scores = scorer.scores(&parts.later);
    let known = if later.is_some() { "on rows that are no known frauds" } else { "on all rows" };
    Model {
        name: "autoencoder",
        title: "autoencoder",
        about: format!(
            "what a network with half as many hidden units as inputs reconstructs badly, trained {known}"
        ),
        settings: json!({ "narrow": autoencoder::Params::default().narrow }),
        validation: validation(&scores, later),
        tried: Vec::new(),
        later: scores,
        test: scorer.scores(&parts.test),
        says_chances: false,
        scorer,
    }
}

impl Model {
    /// The same with what was fitted to all rows to learn from in place of what the later rows were scored by.
    fn tested(mut self, after: &Arc<Unlabelled>, parts: &Parts) -> Self {
        self.scorer = match self.scorer {
            Scorer::Isolation(_) => Scorer::Isolation(Arc::clone(after)),
            Scorer::Autoencoder(_) => Scorer::Autoencoder(Arc::clone(after)),
            other => other,
        };
        self.test = self.scorer.scores(&parts.test);
        self
    }
}
