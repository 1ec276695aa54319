//! What members spent against the tier that was expected of them.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tiercast_core::expected_tier;

use super::{
    charts::shortened,
    svg::{Anchor, Canvas, Scale},
};
use crate::train::{predictions::Predictions, record::RunRecord};

/// Points drawn at most; more only blacken the chart and swell the file.
const MOST: usize = 1500;
const WIDTH: f64 = 440.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 300.0;
/// Height of the strip for those who spent nothing, where a logarithm has no place for them.
const STRIP: f64 = 34.0;

/// Actual spend by expected tier, for the bundle's model on held-out rows.
pub(super) fn scatter(predictions: &Predictions, run: &RunRecord, split: &str) -> String {
    let mut rng = StdRng::seed_from_u64(run.seed);
    let mut rows = predictions.of(&run.selected, split);
    rows.shuffle(&mut rng);
    rows.truncate(MOST);
    rows.sort_unstable();
    let frame = Frame::new(predictions, run, &rows);
    let mut canvas = Canvas::new(WIDTH, BOTTOM + STRIP + 44.0);
    frame.draw(&mut canvas, run);
    let (mut hits, mut misses) = (Vec::new(), Vec::new());
    for row in rows {
        let jitter = rng.random_range(-0.4..0.4);
        let expected = expected_tier(predictions.row(row));
        let point = (frame.x.at(expected), frame.height(predictions.target_spend[row], jitter));
        let hit = predictions.decoded[row] == predictions.target[row];
        if hit { hits.push(point) } else { misses.push(point) }
    }
    canvas.dots(&misses, "dots miss");
    canvas.dots(&hits, "dots hit");
    canvas.finish("Scatter of actual spend in the next period against the expected tier; the lines are the tiers' thresholds")
}

/// The axes: expected tier across, spend upwards as a logarithm.
struct Frame {
    x: Scale,
    y: Scale,
    unit: f64,
    has_strip: bool,
}

impl Frame {
    fn new(predictions: &Predictions, run: &RunRecord, rows: &[usize]) -> Self {
        let unit = 10_f64.powi(i32::from(run.data.currency_exponent));
        let mut spend: Vec<f64> = rows
            .iter()
            .map(|row| predictions.target_spend[*row] as f64 / unit)
            .filter(|spend| *spend > 0.0)
            .collect();
        spend.sort_unstable_by(f64::total_cmp);
        let last = spend.len().saturating_sub(1);
        // The lowest few would stretch the axis; they are drawn on its edge.
        let low = spend.get(last / 100).copied().unwrap_or(1.0);
        let high = spend.last().copied().unwrap_or(10.0).max(low * 10.0);
        Self {
            x: Scale { domain: (1.0, run.tiers.len() as f64), range: (LEFT + 8.0, WIDTH - RIGHT - 8.0) },
            y: Scale { domain: (low.log10(), high.log10()), range: (BOTTOM, TOP + 6.0) },
            unit,
            has_strip: spend.len() < rows.len(),
        }
    }

    fn height(&self, minor: i64, jitter: f64) -> f64 {
        let spend = minor as f64 / self.unit;
        if spend <= 0.0 {
            return BOTTOM + STRIP * (0.55 + jitter * 0.6);
        }
        self.y.at(spend.log10().clamp(self.y.domain.0, self.y.domain.1))
    }

    fn draw(&self, canvas: &mut Canvas, run: &RunRecord) {
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let floor = if self.has_strip { BOTTOM + STRIP } else { BOTTOM };
        self.diagonal(canvas, run);
        for power in self.y.domain.0.ceil() as i32..=self.y.domain.1.floor() as i32 {
            let y = self.y.at(f64::from(power));
            canvas.line((left, y), (right, y), "grid");
            canvas.text((left - 6.0, y + 4.0), Anchor::End, "tick", &money(power));
        }
        for tier in 1..=run.tiers.len() {
            let x = self.x.at(tier as f64);
            canvas.line((x, floor), (x, floor + 4.0), "grid");
            canvas.text((x, floor + 18.0), Anchor::Middle, "tick", &tier.to_string());
        }
        if self.has_strip {
            canvas.line((left, BOTTOM + 2.0), (right, BOTTOM + 2.0), "grid");
            canvas.text((left - 6.0, BOTTOM + STRIP * 0.55 + 4.0), Anchor::End, "tick", "nothing");
        }
        let centre = f64::midpoint(left, right);
        canvas.text((centre, floor + 38.0), Anchor::Middle, "axis", "expected tier, Σ k · p(k)");
        canvas.upright(
            (12.0, f64::midpoint(TOP, BOTTOM)),
            "axis",
            &format!("spent in the next period, {}", run.data.currency),
        );
    }

    /// The tiers' thresholds, their names, and where expectation and truth agree.
    fn diagonal(&self, canvas: &mut Canvas, run: &RunRecord) {
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let edge = |minor: i64| self.height(minor.max(1), 0.0);
        for (at, tier) in run.tiers.iter().enumerate() {
            let bottom = if at == 0 { BOTTOM } else { edge(tier.at_least_minor) };
            let top = run.tiers.get(at + 1).map_or(TOP, |next| edge(next.at_least_minor));
            let k = at as f64 + 1.0;
            let (from, to) = (self.x.at(k - 0.5).max(left), self.x.at(k + 0.5).min(right));
            if bottom - top > 1.0 {
                canvas.rect((from, top), (to - from, bottom - top), "agree", 1.0);
            }
            if at > 0 {
                canvas.line((left, bottom), (right, bottom), "threshold");
            }
            let nothing = at == 0 && self.has_strip && bottom - top < 12.0;
            let y = if nothing { BOTTOM + STRIP * 0.55 } else { f64::midpoint(bottom, top) };
            canvas.text((right + 6.0, y + 4.0), Anchor::Start, "tick", &shortened(&tier.name, 9));
        }
    }
}

/// 1, 10, 100, 1k, 10k …
fn money(power: i32) -> String {
    match power {
        ..0 => format!("{:.*}", power.unsigned_abs() as usize, 10_f64.powi(power)),
        0..3 => 10_u64.pow(power.unsigned_abs()).to_string(),
        3..6 => format!("{}k", 10_u64.pow(power.unsigned_abs() - 3)),
        6..9 => format!("{}M", 10_u64.pow(power.unsigned_abs() - 6)),
        _ => format!("1e{power}"),
    }
}
