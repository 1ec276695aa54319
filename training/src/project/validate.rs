//! What makes the parts of a project file agree, each mistake told by line and column.

use std::path::Path;

use tiercast_core::{
    Duration, FeatureDecl, FeatureSchema, FeatureSpec, MAX_FACTORS, MAX_FEATURES, MAX_ITEMS, Of, Period,
    Timestamp,
};

use super::{
    EventTable, File, Kind, Project, RecommendPlan, SequencePlan, Split, SplitSection, TierCut, TierPlan,
    TierSection, TrainPlan,
};
use crate::locate::{Locator, Problem, nearest};

/// A file that is not TOML or has fields that a project does not, as one problem.
pub(super) fn not_a_project(text: &str, error: &toml::de::Error) -> Problem {
    let problem = Problem::at(text, error.span().unwrap_or(0..0), error.message().trim_end().to_owned());
    match suggestion(error.message()) {
        Some(field) => problem.help(format!("did you mean `{field}`?")),
        None => problem,
    }
}

/// The nearest of the fields that serde lists after an unknown one.
fn suggestion(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    nearest(written, quoted).map(str::to_owned)
}

/// Checks the parts against each other.
pub(super) fn check(text: &str, file: File, path: &Path) -> Result<Project, Vec<Problem>> {
    let mut checker = Checker { locator: Locator::new(text), problems: Vec::new() };
    checker.sections(&file);
    let tiers = checker.tiers(&file.tiers, &file.currency);
    let split = checker.split(&file.split, file.tiers.period);
    checker.models(&file.train, file.sequence.is_some());
    let steps = checker.sequence(file.sequence.as_ref());
    checker.recommend(file.recommend.as_ref(), &file.events);
    let declared = file.features.len();
    let project = Project {
        path: path.to_owned(),
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        name: file.project.name,
        source: file.project.source,
        seed: file.project.seed,
        currency: file.currency,
        events: file.events,
        members: file.members,
        tiers,
        split,
        train: file.train,
        sequence: file.sequence,
        recommend: file.recommend,
        points: file.points,
        features: [file.features, steps].concat(),
    };
    checker.points(&project);
    checker.features(&project, declared);
    if checker.problems.is_empty() {
        return Ok(project);
    }
    checker.problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(checker.problems)
}

/// The columns of a feature table that are not features.
const RESERVED: [&str; 5] = ["member", "as_of", "current_spend", "target_spend", "next_purchase"];

struct Checker<'a> {
    locator: Locator<'a>,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn report(&mut self, path: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.locator.problem(path, message).help(help));
    }

    fn sections(&mut self, file: &File) {
        if file.project.name.trim().is_empty() {
            self.report("project.name", "the project has no name", "name it after the shop or the data set");
        }
        if file.events.is_empty() {
            self.report(
                "events",
                "no table gives events",
                "add an [[events]] section with `table` and `columns`",
            );
        }
        for (index, events) in file.events.iter().enumerate() {
            for (name, sql) in events.columns.given() {
                if sql.trim().is_empty() {
                    self.report(
                        &format!("events.{index}.columns.{name}"),
                        format!("the expression of `{name}` is empty"),
                        "name a column, write an SQL expression, or leave the field out",
                    );
                }
            }
        }
        if !(16..=1_000_000).contains(&file.members.capacity) {
            self.report(
                "members.capacity",
                format!("{} events per member cannot be kept", file.members.capacity),
                "give 16 to 1000000; 8192 suits most shops",
            );
        }
    }

    fn tiers(&mut self, tiers: &TierSection, currency: &tiercast_core::Currency) -> TierPlan {
        let names = &tiers.names;
        if !(2..=32).contains(&names.len()) {
            self.report(
                "tiers.names",
                format!("{} tiers are named", names.len()),
                "name 2 to 32, lowest first",
            );
        }
        for (index, name) in names.iter().enumerate() {
            if name.trim().is_empty() || names[..index].contains(name) {
                self.report(
                    &format!("tiers.names.{index}"),
                    format!("the tier name {name:?} is empty or used twice"),
                    "give every tier its own name",
                );
            }
        }
        let cut = match (&tiers.shares, &tiers.thresholds) {
            (Some(shares), None) => self.shares(shares, names.len(), tiers.zero_tier),
            (None, Some(thresholds)) => self.thresholds(thresholds, names.len(), currency),
            _ => {
                self.report(
                    "tiers",
                    "tiers are cut by `shares` or by `thresholds`: give exactly one of them",
                    "for example shares = [0.40, 0.25, 0.20, 0.10, 0.05]",
                );
                TierCut::Shares(Vec::new())
            }
        };
        TierPlan { names: names.clone(), period: tiers.period, cut }
    }

    fn shares(&mut self, shares: &[f64], names: usize, zero_tier: bool) -> TierCut {
        let expected = if zero_tier { names.saturating_sub(1) } else { names };
        if shares.len() != expected {
            let why = if zero_tier {
                "the first tier is for no spend and has no share, so"
            } else {
                "each tier has one:"
            };
            self.report(
                "tiers.shares",
                format!("{} shares are given for {names} tiers", shares.len()),
                format!("{why} give {expected}"),
            );
        }
        if let Some(index) = shares.iter().position(|share| !(*share > 0.0 && *share < 1.0)) {
            self.report(
                &format!("tiers.shares.{index}"),
                format!("a share of {} leaves a tier or all the others empty", shares[index]),
                "shares lie between 0 and 1",
            );
        }
        let sum: f64 = shares.iter().sum();
        if (sum - 1.0).abs() > 1e-6 {
            self.report(
                "tiers.shares",
                format!("the shares sum to {}, not 1", (sum * 1e6).round() / 1e6),
                "lowest tier first, for example [0.40, 0.25, 0.20, 0.10, 0.05]",
            );
        }
        if zero_tier { TierCut::ZeroThenShares(shares.to_vec()) } else { TierCut::Shares(shares.to_vec()) }
    }

    fn thresholds(
        &mut self,
        thresholds: &[String],
        names: usize,
        currency: &tiercast_core::Currency,
    ) -> TierCut {
        if thresholds.len() != names {
            self.report(
                "tiers.thresholds",
                format!("{} thresholds are given for {names} tiers", thresholds.len()),
                "give the amount at which each tier starts; the first is \"0\"",
            );
        }
        let mut amounts = Vec::new();
        for (index, text) in thresholds.iter().enumerate() {
            let path = format!("tiers.thresholds.{index}");
            match currency.parse(text) {
                Err(error) => {
                    self.report(&path, error.message(), "write a decimal amount in quotes, as in \"250.00\"")
                }
                Ok(amount) if index == 0 && amount != 0 => {
                    self.report(&path, "the lowest tier must start at 0", "put \"0\" first");
                }
                Ok(amount) if amounts.last().is_some_and(|last| amount <= *last) => {
                    self.report(
                        &path,
                        format!("{text} is not above the tier before it"),
                        "give rising amounts",
                    );
                }
                Ok(amount) => amounts.push(amount),
            }
        }
        TierCut::Thresholds(amounts)
    }

    fn split(&mut self, split: &SplitSection, period: Period) -> Split {
        let train = self.dates("train", &split.train, period);
        let test = self.dates("test", &split.test, period);
        if split.train.is_empty() {
            self.report(
                "split.train",
                "there is no date to train on",
                "give at least one as-of date whose following period is in the table",
            );
        }
        self.leaks(&train, &test, period);
        if !(2..=50).contains(&split.folds) {
            self.report(
                "split.folds",
                format!("{} folds cannot be made", split.folds),
                "give 2 to 50; 5 is usual",
            );
        }
        let active_within = split.active_within.as_deref().and_then(|text| match text.parse::<Duration>() {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.report("split.active_within", error.message(), "for example \"92d\"");
                None
            }
        });
        let dates = |located: Vec<(String, Timestamp)>| {
            let mut dates: Vec<_> = located.into_iter().map(|(_, date)| date).collect();
            dates.sort_unstable();
            dates
        };
        Split { train: dates(train), test: dates(test), active_within, folds: split.folds }
    }

    /// The dates that can be read, with their paths in the file.
    fn dates(&mut self, field: &str, texts: &[String], period: Period) -> Vec<(String, Timestamp)> {
        let mut dates: Vec<(String, Timestamp)> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let path = format!("split.{field}.{index}");
            match Timestamp::parse(text) {
                Err(error) => self.report(&path, error.message(), "write the date as in \"2017-04-01\""),
                Ok(date) if dates.iter().any(|(_, other)| *other == date) => {
                    self.report(&path, format!("{text} is given twice"), "give each as-of date once");
                }
                Ok(date) => {
                    let (start, end) = period.around(date);
                    if start != date {
                        self.report(
                            &path,
                            format!("{text} is not the start of a tier period"),
                            format!("the target is a whole period: use {} or {}", start.date(), end.date()),
                        );
                    }
                    dates.push((path, date));
                }
            }
        }
        dates
    }

    /// A training target must be over when the first test looks at its members.
    fn leaks(&mut self, train: &[(String, Timestamp)], test: &[(String, Timestamp)], period: Period) {
        for (path, as_of) in train {
            let (_, end) = period.around(*as_of);
            let Some((_, tested)) =
                test.iter().filter(|(_, tested)| end > *tested).min_by_key(|(_, tested)| *tested)
            else {
                continue;
            };
            self.report(
                path,
                format!(
                    "training would see the future of a test: the target of {} runs to {}, past the test as-of {}",
                    as_of.date(),
                    end.date(),
                    tested.date()
                ),
                "train only on periods that are over when the test begins: remove this date or test later",
            );
        }
    }

    /// The features that a sequence stands for; none where it cannot be.
    fn sequence(&mut self, plan: Option<&SequencePlan>) -> Vec<FeatureDecl> {
        let Some(plan) = plan else { return Vec::new() };
        if !(4..=256).contains(&plan.last) {
            let message = format!("a sequence of {} steps cannot be read", plan.last);
            self.report("sequence.last", message, "give 4 to 256; 24 suits most shops");
            return Vec::new();
        }
        if !(2..=32).contains(&plan.segments) {
            let message = format!("{} segments cannot be made", plan.segments);
            self.report("sequence.segments", message, "give 2 to 32; 6 is the default");
        }
        if plan.of.is_empty() {
            let help = "for example of = [\"day\", \"amount\", \"category\"]";
            self.report("sequence.of", "nothing is known of a step", help);
        }
        for (index, of) in plan.of.iter().enumerate() {
            let path = format!("sequence.of.{index}");
            if plan.of[..index].contains(of) {
                self.report(&path, "this is given twice", "give each once");
            } else if matches!(of, Of::Order) {
                self.report(
                    &path,
                    "an order is no number of a step",
                    "choose among day, amount, discount, quantity, count, item, category and channel",
                );
            }
        }
        let features: Vec<FeatureDecl> = plan.features().collect();
        if features.len() > MAX_FEATURES {
            let message = format!("{} numbers are more than {MAX_FEATURES}", features.len());
            self.report("sequence", message, "take fewer steps, or less of each");
            return Vec::new();
        }
        features
    }

    fn recommend(&mut self, plan: Option<&RecommendPlan>, events: &[EventTable]) {
        let Some(plan) = plan else { return };
        let mut say = |field: &str, message: String, help: &str| {
            self.report(&format!("recommend.{field}"), message, help);
        };
        if events.iter().all(|table| table.columns.item.is_none()) {
            let message = "no table of [[events]] says which item was bought".into();
            say("period", message, "give `item` in [events.columns]");
        }
        if plan.train.is_empty() || !plan.train.is_sorted_by(|a, b| a < b) {
            let message = "the dates to learn from are none, or not ascending".into();
            say("train", message, "for example train = [\"2017-10-09\", \"2017-11-06\"]");
        }
        let end = plan.train.last().map_or(0, |last| last.ms() + plan.period.ms());
        if let Some(test) = plan.test.filter(|test| test.ms() < end) {
            let message =
                format!("training would see the future of the test: a period reaches past {}", test.date());
            say("test", message, "test at the earliest when the last training period is over");
        }
        if !(2..=MAX_ITEMS).contains(&plan.catalogue) {
            say(
                "catalogue",
                format!("{} items cannot be known", plan.catalogue),
                "give 2 to 65535; 10000 is the default",
            );
        }
        if !(16..=MAX_FACTORS).contains(&plan.factors) || !plan.factors.is_multiple_of(16) {
            say(
                "factors",
                format!("{} factors cannot be had", plan.factors),
                "give 16, 32, 48 and so on to 256; 64 is the default",
            );
        }
        if !(0.0..=1.0).contains(&plan.diversity) {
            say(
                "diversity",
                format!("{} is no share", plan.diversity),
                "give 0 for the most likely items alone, up to 1",
            );
        }
        if plan.members < 100 {
            say(
                "members",
                format!("{} members are too few to learn from", plan.members),
                "give at least 100; 50000 is the default",
            );
        }
        if let Some(error) = plan.welcome.as_ref().and_then(|welcome| welcome.check().err()) {
            let (message, help) = error.message().split_once("; ").unwrap_or((error.message(), ""));
            say("welcome", message.to_owned(), help);
        }
    }

    fn points(&mut self, project: &Project) {
        let Some(rules) = &project.points else { return };
        for (path, mistake) in rules.mistakes(project.tiers.names.len(), &project.event_rules()) {
            let (message, help) =
                mistake.split_once("; ").unwrap_or((&mistake, "see [points] in the README"));
            self.report(&format!("points.{path}"), message, help);
        }
    }

    fn models(&mut self, train: &TrainPlan, has_sequence: bool) {
        if train.models.is_empty() {
            self.report(
                "train.models",
                "no model is named",
                format!("choose among {}", Kind::names().join(", ")),
            );
        }
        for (index, model) in train.models.iter().enumerate() {
            if !Kind::names().contains(&model.as_str()) {
                let known = format!("choose among {}", Kind::names().join(", "));
                let help =
                    nearest(model, Kind::names()).map_or(known, |near| format!("did you mean {near:?}?"));
                self.report(&format!("train.models.{index}"), format!("there is no model {model:?}"), help);
            } else if !has_sequence && Kind::parse(model).is_ok_and(|kind| kind.encoder().is_some()) {
                self.report(
                    &format!("train.models.{index}"),
                    format!("{model:?} reads a sequence, and none is declared"),
                    "add [sequence] with each = \"order\", last = 24, of = [\"day\", \"amount\"], or take the model out",
                );
            }
        }
    }

    /// The first `declared` have a place of their own in the file, the others are the sequence's.
    fn features(&mut self, project: &Project, declared: usize) {
        if project.features.is_empty() {
            self.report(
                "features",
                "no feature is declared",
                "add [[features]], or let `tiercast init` propose some",
            );
            return;
        }
        let before = self.problems.len();
        for (index, feature) in project.features.iter().enumerate() {
            if project.features[..index].iter().any(|other| other.name == feature.name) {
                self.report(
                    &format!("features.{index}.name"),
                    format!("the feature name {:?} is used twice", feature.name),
                    "names are the columns of the feature table: give each its own",
                );
            }
            if RESERVED.contains(&feature.name.as_str()) {
                self.report(
                    &format!("features.{index}.name"),
                    format!("{:?} is a column of every feature table", feature.name),
                    "give the feature another name",
                );
            }
            if let Err(error) = compile(project, std::slice::from_ref(feature)) {
                let path = if index < declared { format!("features.{index}") } else { "sequence".into() };
                self.problems.push(self.locator.problem(&path, error.to_string()));
            }
        }
        if let (true, Err(error)) = (self.problems.len() == before, compile(project, &project.features)) {
            self.problems.push(self.locator.problem("features", error.to_string()));
        }
    }
}

fn compile(project: &Project, features: &[FeatureDecl]) -> tiercast_core::Result<FeatureSchema> {
    FeatureSchema::compile(FeatureSpec {
        events: project.event_rules(),
        capacity: project.members.capacity,
        features: features.to_vec(),
    })
}
