//! What the worker counts of itself, for Prometheus: never who, only how many.
//!
//! Each isolate counts for itself. `watch.js` takes what was counted to one object every few seconds, which adds it up, and
//! `GET /metrics` writes it in the text format 0.0.4. Series are named here, but for the one that `watch.js` counts where this
//! module has failed.

use std::{cell::RefCell, collections::BTreeMap, fmt::Write};

use tiercast_core::Psi;

use crate::{
    model::Model,
    release::{Deployed, Stage},
    score::Outcomes,
};

/// Upper ends of the histogram's buckets, in milliseconds, as they are written in seconds.
const BUCKETS: [(f64, &str); 12] = [
    (1.0, "0.001"),
    (2.5, "0.0025"),
    (5.0, "0.005"),
    (10.0, "0.01"),
    (25.0, "0.025"),
    (50.0, "0.05"),
    (100.0, "0.1"),
    (250.0, "0.25"),
    (500.0, "0.5"),
    (1000.0, "1"),
    (2500.0, "2.5"),
    (f64::INFINITY, "+Inf"),
];

/// Every metric: its name, its type, what it counts.
const METRICS: [(&str, &str, &str); 16] = [
    ("build_info", "gauge", "The worker's version."),
    ("bundle_info", "gauge", "The bundles that answer, and at which stage."),
    ("bundle_requests_total", "counter", "Requests that a bundle had, by outcome."),
    ("drift_members", "gauge", "Members that the stability indices are made of."),
    ("errors_total", "counter", "Refusals and failures by code."),
    ("events_total", "counter", "Events that were sent, by what became of them."),
    ("feature_psi", "gauge", "Stability index of a feature against training."),
    ("release_serial", "gauge", "The number of the release."),
    ("release_withdrawn", "gauge", "A bundle that workers went back from."),
    ("request_duration_seconds", "histogram", "Time that requests waited, not computed."),
    ("requests_total", "counter", "Requests by route and status."),
    ("risk_alerts_total", "counter", "Alerts among what was judged."),
    ("risk_judged_total", "counter", "Events that were judged."),
    ("score_psi", "gauge", "Stability index of the tier against training."),
    ("scores_total", "counter", "Assessments by predicted tier."),
    ("watch_flushes_total", "counter", "Times that isolates told what they counted."),
];

/// How a bundle fared with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fared {
    Ok,
    Failed,
    /// Only beside another: its answer is another one.
    Differs,
}

/// What was counted since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By series.
    series: BTreeMap<Series, f64>,
    /// Of the trial: requests, and failures among them.
    trial: [f64; 2],
}

/// A series, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Series {
    Requests(&'static str, u16),
    Errors(&'static str),
    Bucket(&'static str, usize),
    Seconds(&'static str),
    Scores(u8),
    Events(&'static str),
    Judged,
    Alerts,
    Bundle(Hash, Stage, Fared),
    Flushes,
}

/// What a bundle's hash begins with.
pub(crate) type Hash = [u8; 12];

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// Counts with what this isolate has counted.
pub(crate) fn with<T>(work: impl FnOnce(&mut Counts) -> T) -> T {
    COUNTS.with_borrow_mut(work)
}

impl Counts {
    fn add(&mut self, series: Series, number: f64) {
        *self.series.entry(series).or_default() += number;
    }

    /// A request that was answered, after so many milliseconds.
    pub(crate) fn request(&mut self, route: &'static str, status: u16, ms: f64) {
        self.add(Series::Requests(route, status), 1.0);
        let bucket = BUCKETS.iter().position(|(end, _)| ms <= *end).unwrap_or(BUCKETS.len() - 1);
        self.add(Series::Bucket(route, bucket), 1.0);
        self.add(Series::Seconds(route), ms / 1000.0);
    }

    pub(crate) fn error(&mut self, code: &'static str) {
        self.add(Series::Errors(code), 1.0);
    }

    pub(crate) fn score(&mut self, tier: u8) {
        self.add(Series::Scores(tier), 1.0);
    }

    pub(crate) fn events(&mut self, outcomes: Outcomes) {
        let Outcomes { added, duplicate, too_late } = outcomes;
        for (name, count) in [("added", added), ("duplicate", duplicate), ("too_late", too_late)] {
            if count > 0 {
                self.add(Series::Events(name), count as f64);
            }
        }
    }

    pub(crate) fn judged(&mut self, alert: bool) {
        self.add(Series::Judged, 1.0);
        if alert {
            self.add(Series::Alerts, 1.0);
        }
    }

    /// A request that a bundle had.
    pub(crate) fn bundle(&mut self, hash: Hash, stage: Stage, fared: Fared) {
        self.add(Series::Bundle(hash, stage, fared), 1.0);
        if stage != Stage::Stable {
            self.trial[0] += 1.0;
            self.trial[1] += f64::from(u8::from(fared == Fared::Failed));
        }
    }

    /// What was counted of the trial: requests, and failures among them.
    pub(crate) fn trial(&self) -> [f64; 2] {
        self.trial
    }

    /// What is counted from here on is of another trial, or of none.
    pub(crate) fn end_trial(&mut self) {
        self.trial = [0.0; 2];
    }

    /// A line `series value` for each, and nothing counted any more.
    pub(crate) fn take(&mut self) -> String {
        self.add(Series::Flushes, 1.0);
        let mut lines = String::new();
        for (series, value) in std::mem::take(self).series {
            series.write(&mut lines, value);
        }
        lines
    }
}

impl Series {
    fn write(self, lines: &mut String, value: f64) {
        match self {
            Self::Requests(route, status) => {
                let status = status.to_string();
                line(lines, "requests_total", &[("route", route), ("status", &status)], value);
            }
            Self::Errors(code) => line(lines, "errors_total", &[("code", code)], value),
            Self::Bucket(route, at) => {
                // Each holds all that are under its end.
                for (_, end) in &BUCKETS[at..] {
                    line(lines, "request_duration_seconds_bucket", &[("le", end), ("route", route)], value);
                }
                line(lines, "request_duration_seconds_count", &[("route", route)], value);
            }
            Self::Seconds(route) => {
                line(lines, "request_duration_seconds_sum", &[("route", route)], value);
            }
            Self::Scores(tier) => line(lines, "scores_total", &[("tier", &tier.to_string())], value),
            Self::Events(outcome) => line(lines, "events_total", &[("outcome", outcome)], value),
            Self::Judged => line(lines, "risk_judged_total", &[], value),
            Self::Alerts => line(lines, "risk_alerts_total", &[], value),
            Self::Bundle(hash, stage, fared) => {
                let outcome = ["ok", "failed", "differs"][fared as usize];
                let labels = [("bundle", text(&hash)), ("stage", stage.name()), ("outcome", outcome)];
                line(lines, "bundle_requests_total", &labels, value);
            }
            Self::Flushes => line(lines, "watch_flushes_total", &[], value),
        }
    }
}

/// Writes a series and its value.
fn line(lines: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    lines.push_str("tiercast_");
    lines.push_str(name);
    for (i, (label, of)) in labels.iter().enumerate() {
        lines.push_str(if i == 0 { "{" } else { "," });
        lines.push_str(label);
        lines.push_str("=\"");
        lines.push_str(of);
        lines.push('"');
    }
    if !labels.is_empty() {
        lines.push('}');
    }
    // A text takes everything.
    let _ = writeln!(lines, " {value}");
}

fn text(hash: &Hash) -> &str {
    std::str::from_utf8(hash).unwrap_or_default()
}

/// What a bundle's hash in hexadecimal begins with.
pub(crate) fn hash(sha256: &str) -> Hash {
    sha256.as_bytes().first_chunk().copied().unwrap_or([b'0'; 12])
}

/// What is deployed, as lines of its own.
pub(crate) fn about(deployed: &Deployed) -> String {
    let mut lines = String::new();
    line(&mut lines, "build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    for (model, stage) in deployed.each() {
        let hash = hash(model.sha256());
        line(&mut lines, "bundle_info", &[("bundle", text(&hash)), ("stage", stage.name())], 1.0);
    }
    if deployed.serial > 0 {
        line(&mut lines, "release_serial", &[], deployed.serial as f64);
    }
    lines
}

/// How far the members behind these counts have drifted from the rows that the bundle was trained on, as lines; nothing where
/// there are none, or they are another bundle's.
pub(crate) fn drift(model: &Model, counts: &[f64]) -> String {
    let counts: Vec<u32> = counts.iter().map(|count| count.round() as u32).collect();
    let mut lines = String::new();
    for Psi { name, psi, rows, .. } in model.psi(&counts).unwrap_or_default() {
        if name == "tier" {
            line(&mut lines, "score_psi", &[], psi);
            line(&mut lines, "drift_members", &[], rows as f64);
        } else {
            line(&mut lines, "feature_psi", &[("feature", name)], psi);
        }
    }
    lines
}

/// The line that says that workers went back from a bundle.
pub(crate) fn withdrawn(sha256: &str) -> String {
    let mut lines = String::new();
    line(&mut lines, "release_withdrawn", &[("bundle", text(&hash(sha256)))], 1.0);
    lines
}

/// The body of `GET /metrics` of lines in any order, which those of one metric keep: together, behind what it is.
pub(crate) fn exposition(lines: &str) -> String {
    let mut out = String::with_capacity(2 * lines.len());
    for (name, kind, help) in METRICS {
        let of = |line: &&str| {
            let rest = line.strip_prefix("tiercast_").and_then(|line| line.strip_prefix(name));
            rest.is_some_and(|rest| {
                rest.starts_with(['{', ' ']) || (kind == "histogram" && rest.starts_with('_'))
            })
        };
        let own: Vec<&str> = lines.lines().filter(of).collect();
        if own.is_empty() {
            continue;
        }
        let _ =
            writeln!(out, "# HELP tiercast_{name} {help}\n# TYPE tiercast_{name} {kind}\n{}", own.join("\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(lines: &str, series: &str) -> Option<f64> {
        let line =
            lines.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    #[test]
    fn what_is_counted_is_taken_once() {
        let mut counts = Counts::default();
        counts.request("score", 200, 0.0);
        counts.request("score", 200, 30.0);
        counts.request("score", 400, 9_999.0);
        counts.error("malformed_json");
        counts.score(3);
        counts.score(3);
        counts.events(Outcomes { added: 4, duplicate: 0, too_late: 1 });
        counts.judged(true);
        counts.judged(false);
        let lines = counts.take();
        for (series, number) in [
            ("requests_total{route=\"score\",status=\"200\"}", 2.0),
            ("requests_total{route=\"score\",status=\"400\"}", 1.0),
            ("errors_total{code=\"malformed_json\"}", 1.0),
            ("scores_total{tier=\"3\"}", 2.0),
            ("events_total{outcome=\"added\"}", 4.0),
            ("events_total{outcome=\"too_late\"}", 1.0),
            ("risk_judged_total", 2.0),
            ("risk_alerts_total", 1.0),
            ("request_duration_seconds_sum{route=\"score\"}", 10.029),
        ] {
            assert_eq!(value(&lines, &format!("tiercast_{series}")), Some(number), "{series}");
        }
        assert!(!lines.contains("duplicate"));
        assert_eq!(counts.take(), "tiercast_watch_flushes_total 1\n");
    }

    #[test]
    fn buckets_hold_all_that_is_under_their_ends_once_added_up() {
        let mut counts = Counts::default();
        for ms in [0.0, 1.0, 1.1, 30.0, 99_999.0] {
            counts.request("score", 200, ms);
        }
        // As the object does that adds up.
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for line in counts.take().lines() {
            let (series, number) = line.rsplit_once(' ').unwrap();
            *sums.entry(series.to_owned()).or_default() += number.parse::<f64>().unwrap();
        }
        let sum = |end: &str| {
            sums[&format!("tiercast_request_duration_seconds_bucket{{le=\"{end}\",route=\"score\"}}")]
        };
        assert_eq!(
            ["0.001", "0.0025", "0.025", "0.05", "2.5", "+Inf"].map(sum),
            [2.0, 3.0, 3.0, 4.0, 4.0, 5.0]
        );
        assert_eq!(sums["tiercast_request_duration_seconds_count{route=\"score\"}"], 5.0);
    }

    #[test]
    fn a_trial_is_counted_apart() {
        let mut counts = Counts::default();
        counts.bundle(*b"0123456789ab", Stage::Stable, Fared::Failed);
        counts.bundle(*b"ba9876543210", Stage::Canary, Fared::Ok);
        counts.bundle(*b"ba9876543210", Stage::Canary, Fared::Failed);
        assert_eq!(counts.trial(), [2.0, 1.0]);
        let lines = counts.take();
        let series =
            "tiercast_bundle_requests_total{bundle=\"ba9876543210\",stage=\"canary\",outcome=\"failed\"}";
        assert_eq!((value(&lines, series), counts.trial()), (Some(1.0), [0.0; 2]));
    }

    #[test]
    fn metrics_stand_together_behind_what_they_are() {
        let lines = "tiercast_scores_total{tier=\"2\"} 5\ntiercast_errors_total{code=\"x\"} 1\ntiercast_scores_total{tier=\"1\"} 4\n";
        let text = exposition(lines);
        let want = "# HELP tiercast_errors_total Refusals and failures by code.\n\
                    # TYPE tiercast_errors_total counter\ntiercast_errors_total{code=\"x\"} 1\n\
                    # HELP tiercast_scores_total Assessments by predicted tier.\n# TYPE tiercast_scores_total counter\n\
                    tiercast_scores_total{tier=\"2\"} 5\ntiercast_scores_total{tier=\"1\"} 4\n";
        assert_eq!(text, want);
        let names: Vec<&str> = METRICS.iter().map(|(name, ..)| *name).collect();
        assert!(names.is_sorted());
    }
}
