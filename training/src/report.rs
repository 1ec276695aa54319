//! A run's report: the same content as JSON for programs and as one HTML file for people.
//!
//! The HTML needs no scripts, fonts or network; charts are inline SVG in the page's own colours, light and dark.

use minijinja::{Environment, Value, context};
use serde::Serialize;
use tiercast_core::Decode;

use crate::{
    evaluate::{
        attributes::{Attributes, Source},
        board::{Board, Boards, Verdict, decode_name, judge},
        gains::Gains,
        slices::{self, Slicing},
        words,
    },
    metrics::{Measure, Reliability},
    models::{CurvePoint, Kind},
    train::{
        predictions::Predictions,
        record::{Importance, RunRecord, TierRecord},
    },
};

mod charts;
mod curves;
mod points;
pub mod reference;
mod sections;
pub(crate) mod svg;

use reference::Comparison;

/// The style of a report, which other pages have too.
pub(crate) fn style() -> &'static str {
    let page = include_str!("report/report.html");
    page.split_once("<style>")
        .and_then(|(_, rest)| rest.split_once("</style>"))
        .map_or("", |(style, _)| style)
}

/// The version of `report.json`.
pub const FORMAT: u32 = 1;
/// Features shown in the chart.
const MOST_FEATURES: usize = 15;

/// `report.json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Which model wins, or that none beats the rule.
    pub headline: String,
    /// By how much, where, and how sure.
    pub finding: String,
    /// What to know before trusting the figures.
    pub notes: Vec<String>,
    /// What was trained.
    pub run: RunRecord,
    /// All figures with intervals, the split that counts first.
    pub boards: Boards,
    /// The models in detail, on the split that counts, with the run's decoder.
    pub models: Vec<Detail>,
    /// How early those who reach the top tiers are found.
    pub gains: Vec<Gains>,
    /// The bundle's model within slices of the held-out rows.
    pub slices: Vec<Slicing>,
    /// The user's table that slices were told apart by.
    pub sliced_by: Option<Source>,
    /// Reference figures on the same protocol, for the data sets that have them.
    pub reference: Option<Comparison>,
}

/// A model in detail.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// Its name in the project file.
    pub model: String,
    /// Its name for people.
    pub title: String,
    /// Whether it beats the rule by the run's measure; none for the rule.
    pub verdict: Option<Verdict>,
    /// Rows of each true tier (outer) decided to be each tier (inner).
    pub confusion: Vec<Vec<u64>>,
    /// The bins of the reliability plot.
    pub reliability: Vec<Reliability>,
    /// How well each tier is found.
    pub tiers: Vec<TierFigures>,
    /// Loss by step.
    pub curve: Vec<CurvePoint>,
}

/// How well one tier is found.
#[derive(Clone, Debug, Serialize)]
pub struct TierFigures {
    /// The tier's name.
    pub name: String,
    /// Rows that are in the tier.
    pub rows: u64,
    /// Of those decided to be in the tier, the share that is; none if none was.
    pub precision: Option<f64>,
    /// Of those in the tier, the share decided so; none if there are none.
    pub recall: Option<f64>,
}

impl Report {
    /// Computes a report; `attributes` tell slices of members apart.
    pub fn new(run: RunRecord, predictions: &Predictions, attributes: &Attributes) -> Self {
        let names: Vec<&str> = run.models.iter().map(|model| model.name.as_str()).collect();
        let decoders = [Decode::Argmax, Decode::Median, Decode::Expected, Decode::Ranks];
        let boards = Boards::new(predictions, &run, &names, &decoders);
        let split = boards.first().map_or("", |board| board.split.as_str()).to_owned();
        let models = names.iter().map(|name| Detail::new(name, &run, &boards, predictions, &split)).collect();
        Self {
            format: FORMAT,
            headline: words::headline(&run, &boards),
            finding: words::finding(&run, &boards),
            notes: words::notes(&run, &boards),
            gains: Gains::all(predictions, &run.selected, Kind::SameTier.name(), &split),
            slices: slices::all(predictions, &run, &split, attributes),
            sliced_by: attributes.source.clone(),
            reference: boards.first().and_then(|board| reference::compare(&run.project, board)),
            models,
            boards,
            run,
        }
    }

    /// The page.
    ///
    /// # Errors
    /// When the template cannot be rendered, which a test rules out.
    pub fn html(&self, predictions: &Predictions) -> anyhow::Result<String> {
        let mut environment = Environment::new();
        environment.add_template("report.html", include_str!("report/report.html"))?;
        environment.add_filter("fixed", |x: f64, digits: usize| format!("{x:.digits$}"));
        environment.add_filter("signed", words::signed);
        environment.add_filter("percent", |x: Option<f64>| {
            x.map_or("–".to_owned(), |x| format!("{:.0} %", x * 100.0))
        });
        environment.add_filter("thousands", words::thousands);
        environment.add_filter("percent1", |x: f64| format!("{:.1} %", x * 100.0));
        environment.add_filter("title_of", |name: &str| words::short(name).to_owned());
        environment.add_filter("short", |x: Option<f64>| x.map_or("–".to_owned(), words::short_number));
        let chart = |svg: String| Value::from_safe_string(svg);
        let board = self.boards.first();
        let selected = self.detail(&self.run.selected);
        let rule = self.detail(Kind::SameTier.name());
        let names: Vec<&str> = self.run.tiers.iter().map(|tier| tier.name.as_str()).collect();
        let page = environment.get_template("report.html")?.render(context! {
            report => self,
            selected => selected,
            rule => rule,
            board => board,
            held => board.map(words::rows),
            decoder => decode_name(Some(self.run.decode)),
            measure => self.run.selected_by.label(),
            chosen => words::model(&self.run.selected),
            tiles => board.map(|board| self.tiles(board)),
            lines => board.map(|board| self.lines(board)),
            boards => self.boards.0.iter().map(|board| self.full(board)).collect::<Vec<_>>(),
            interval_chart => board.map(|board| chart(charts::intervals(board, &self.run))),
            scatter => board.map(|board| chart(points::scatter(predictions, &self.run, &board.split))),
            confusions => [selected, rule].into_iter().flatten().map(|detail| context! {
                title => &detail.title,
                chart => chart(charts::confusion(detail, &names)),
            }).collect::<Vec<_>>(),
            calibration => selected.map(|selected| chart(charts::reliability(selected, rule))),
            tier_chart => selected.zip(rule).map(|(model, rule)| chart(charts::tiers(model, rule))),
            curves => self.models.iter().filter(|detail| !detail.curve.is_empty()).map(|detail| context! {
                title => &detail.title,
                chart => chart(charts::curve(detail)),
            }).collect::<Vec<_>>(),
            counts => selected.zip(rule).map(|(model, rule)| chart(curves::counts(model, rule))),
            errors => selected.zip(rule).map(|(model, rule)| chart(curves::errors(model, rule))),
            gains => sections::gains(self),
            slicings => sections::slices(self),
            effects => sections::effects(self),
            quality => sections::quality(self),
            profile => sections::profile(self),
            recommend => sections::recommend(self),
            importance => chart(charts::importance(self.most_important())),
            importance_rows => self.most_important(),
        })?;
        // A percent sign stays with its number.
        Ok(page.replace(" %", "\u{a0}%"))
    }

    fn detail(&self, model: &str) -> Option<&Detail> {
        self.models.iter().find(|detail| detail.model == model)
    }

    fn most_important(&self) -> &[Importance] {
        &self.run.importance[..self.run.importance.len().min(MOST_FEATURES)]
    }

    /// The four figures at the top: ours, the rule's, and whether the difference is more than chance.
    fn tiles(&self, board: &Board) -> Vec<Value> {
        let (Some(ours), Some(rule)) = (board.entry(&self.run.selected, self.run.decode), board.rule())
        else {
            return Vec::new();
        };
        let shown = [Measure::Mae, Measure::Accuracy, Measure::Kappa, Measure::Rps];
        shown
            .map(|measure| {
                tile(
                    measure,
                    ours.measures.get(measure).value,
                    rule.measures.get(measure).value,
                    words::versus(ours, measure),
                )
            })
            .to_vec()
    }

    /// The leader board with the run's decoder.
    fn lines(&self, board: &Board) -> Vec<Value> {
        let asked =
            board.entries.iter().filter(|entry| entry.decode.is_none_or(|decode| decode == self.run.decode));
        asked.map(|entry| self.line(entry)).collect()
    }

    /// The leader board with every decoder.
    fn full(&self, board: &Board) -> Value {
        let lines: Vec<Value> = board.entries.iter().map(|entry| self.line(entry)).collect();
        context! { held => words::rows(board), split => &board.split, lines => lines }
    }

    fn line(&self, entry: &crate::evaluate::board::Entry) -> Value {
        let cells: Vec<Value> = Measure::ALL.map(|measure| {
            let estimate = entry.measures.get(measure);
            let verdict = entry.versus_rule.map(|_| words::versus(entry, measure).0);
            context! { value => estimate.value, low => estimate.low, high => estimate.high, verdict => verdict, label => measure.label() }
        }).to_vec();
        context! {
            model => words::short(&entry.model),
            decode => decode_name(entry.decode),
            selected => entry.model == self.run.selected && entry.decode == Some(self.run.decode),
            rule => entry.decode.is_none(),
            cells => cells,
        }
    }
}

fn tile(
    measure: Measure,
    ours: f64,
    rule: f64,
    (verdict, difference): (Verdict, crate::metrics::Estimate),
) -> Value {
    let explained = match measure {
        Measure::Mae => "tiers off, on average",
        Measure::Accuracy => "of tiers exactly right",
        Measure::Kappa => "agreement beyond chance, near misses counted",
        _ => "error of the probabilities; 0 is perfect",
    };
    context! { label => measure.label(), ours => ours, rule => rule, verdict => verdict, difference => difference, explained => explained }
}

impl Detail {
    fn new(name: &str, run: &RunRecord, boards: &Boards, predictions: &Predictions, split: &str) -> Self {
        let is_rule = name == Kind::SameTier.name();
        let judged = judge(predictions, name, split, (!is_rule).then_some(run.decode));
        let confusion = judged.confusion();
        let entry = boards.first().and_then(|board| board.entry(name, run.decode));
        let record = run.models.iter().find(|model| model.name == name);
        Self {
            model: name.to_owned(),
            title: words::short(name).to_owned(),
            verdict: entry.filter(|_| !is_rule).map(|entry| words::versus(entry, run.selected_by).0),
            tiers: tier_figures(&run.tiers, &confusion),
            confusion,
            reliability: judged.reliability(),
            curve: record.map(|record| record.curve.clone()).unwrap_or_default(),
        }
    }

    /// Shares of the rows decided K − 1 tiers too low, …, right, …, K − 1 tiers too high.
    fn errors(&self) -> Vec<f64> {
        let tiers = self.confusion.len();
        let rows = self.confusion.iter().flatten().sum::<u64>().max(1) as f64;
        let mut shares = vec![0.0; 2 * tiers - 1];
        for (target, row) in self.confusion.iter().enumerate() {
            for (decided, n) in row.iter().enumerate() {
                shares[decided + tiers - 1 - target] += *n as f64 / rows;
            }
        }
        shares
    }
}

fn tier_figures(tiers: &[TierRecord], confusion: &[Vec<u64>]) -> Vec<TierFigures> {
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let figures = |(at, tier): (usize, &TierRecord)| {
        let rows: u64 = confusion[at].iter().sum();
        let decided: u64 = confusion.iter().map(|row| row[at]).sum();
        TierFigures {
            name: tier.name.clone(),
            rows,
            precision: share(confusion[at][at], decided),
            recall: share(confusion[at][at], rows),
        }
    };
    tiers.iter().enumerate().map(figures).collect()
}

#[cfg(test)]
mod tests;
