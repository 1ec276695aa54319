//! The report's charts but the scatter, each 440 units wide so that its text stays readable on a phone.

use super::{
    Detail,
    svg::{Anchor, Canvas, Scale, tick_label, ticks},
};
use crate::{
    evaluate::{board::Board, words},
    recommend::Way,
    train::record::{Importance, RunRecord},
};

pub(super) const WIDTH: f64 = 440.0;

/// Each model's value in the run's measure with its interval, against the rule's.
pub(super) fn intervals(board: &Board, run: &RunRecord) -> String {
    let measure = run.selected_by;
    let lines: Vec<_> =
        board.entries.iter().filter(|entry| entry.decode.is_none_or(|decode| decode == run.decode)).collect();
    let of = |entry: &crate::evaluate::board::Entry| entry.measures.get(measure);
    let low = lines.iter().map(|entry| of(entry).low).fold(f64::INFINITY, f64::min);
    let high = lines.iter().map(|entry| of(entry).high).fold(f64::NEG_INFINITY, f64::max);
    let pad = ((high - low) * 0.08).max(1e-6);
    let x = Scale { domain: (low - pad, high + pad), range: (8.0, WIDTH - 8.0) };
    // Many models stand closer, so that the chart stays beside its neighbour.
    let (row, top) = (if lines.len() > 7 { 38.0 } else { 54.0 }, 6.0);
    let (text, whisker) = (row / 3.0, row * 0.64);
    let bottom = top + row * lines.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    axis_below(&mut canvas, x, bottom, top, measure.label());
    if let Some(rule) = board.rule() {
        let at = x.at(of(rule).value);
        canvas.line((at, top), (at, bottom), "rule-line");
    }
    for (at, entry) in lines.iter().enumerate() {
        let estimate = of(entry);
        let y = top + row * at as f64;
        let ours = entry.model == run.selected;
        let class = if entry.decode.is_none() {
            "rule"
        } else if ours {
            "ours"
        } else {
            "other"
        };
        let name = words::short(&entry.model);
        let note = if ours { format!("{name} (in the bundle)") } else { name.to_owned() };
        canvas.text(
            (8.0, y + text),
            Anchor::Start,
            if ours { "label halo strong" } else { "label halo" },
            &note,
        );
        canvas.text(
            (WIDTH - 8.0, y + text),
            Anchor::End,
            "label halo number",
            &format!("{:.3}", estimate.value),
        );
        canvas.line(
            (x.at(estimate.low), y + whisker),
            (x.at(estimate.high), y + whisker),
            &format!("whisker {class}"),
        );
        let title = format!("{name}: {:.3}, {:.3} to {:.3}", estimate.value, estimate.low, estimate.high);
        canvas.circle((x.at(estimate.value), y + whisker), 5.0, class, &title);
    }
    canvas.finish(&format!(
        "{} of each model with its 95 % interval, the rule as a dashed line",
        measure.label()
    ))
}

fn axis_below(canvas: &mut Canvas, x: Scale, bottom: f64, top: f64, title: &str) {
    let marks = ticks(x.domain, 5);
    for mark in &marks {
        let at = x.at(*mark);
        canvas.line((at, top), (at, bottom), "grid");
        canvas.text((at, bottom + 18.0), Anchor::Middle, "tick", &tick_label(*mark, &marks));
    }
    canvas.text((f64::midpoint(x.range.0, x.range.1), bottom + 38.0), Anchor::Middle, "axis", title);
}

/// Shares of each true tier over the decided tiers.
pub(super) fn confusion(detail: &Detail, names: &[&str]) -> String {
    let (left, top) = (96.0, 30.0);
    let k = names.len() as f64;
    let (w, h) = ((WIDTH - left - 4.0) / k, (250.0 / k).clamp(24.0, 50.0));
    let mut canvas = Canvas::new(WIDTH, top + h * k + 28.0);
    for (at, name) in names.iter().enumerate() {
        let name = shortened(name, if w < 60.0 { 7 } else { 10 });
        canvas.text((left + w * (at as f64 + 0.5), top - 10.0), Anchor::Middle, "tick", &name);
        canvas.text((left - 10.0, top + h * (at as f64 + 0.5) + 4.0), Anchor::End, "tick", &name);
    }
    for (t, row) in detail.confusion.iter().enumerate() {
        let total = row.iter().sum::<u64>().max(1) as f64;
        for (d, n) in row.iter().enumerate() {
            let share = *n as f64 / total;
            let at = (left + w * d as f64 + 1.0, top + h * t as f64 + 1.0);
            canvas.rect(
                at,
                (w - 2.0, h - 2.0),
                if t == d { "cell hit" } else { "cell" },
                0.06 + 0.94 * share,
            );
            let class = if share < 0.005 { "tick" } else { "label number" };
            let centre = (at.0 + w / 2.0 - 1.0, at.1 + h / 2.0 + 4.0);
            canvas.text(centre, Anchor::Middle, class, &format!("{:.0} %", share * 100.0));
        }
    }
    canvas.text(
        (left + w * k / 2.0, top + h * k + 22.0),
        Anchor::Middle,
        "axis",
        "decided tier; each row adds up to 100 %",
    );
    canvas.upright((12.0, top + h * k / 2.0), "axis", "true tier");
    canvas.finish(&format!(
        "Confusion matrix of {}: shares of each true tier over the decided tiers",
        detail.title
    ))
}

/// How often the top tier is right, by the probability given to it.
pub(super) fn reliability(model: &Detail, rule: Option<&Detail>) -> String {
    let (left, top, bottom) = (66.0, 10.0, 270.0);
    let x = Scale { domain: (0.0, 1.0), range: (left, WIDTH - 12.0) };
    let y = Scale { domain: (0.0, 1.0), range: (bottom, top) };
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    percent_axes(&mut canvas, x, y);
    canvas.text(
        (f64::midpoint(x.range.0, x.range.1), bottom + 38.0),
        Anchor::Middle,
        "axis",
        "probability given to the top tier",
    );
    canvas.upright((12.0, f64::midpoint(top, bottom)), "axis", "how often it is right");
    canvas.line((x.at(0.0), y.at(0.0)), (x.at(1.0), y.at(1.0)), "rule-line");
    let most = model.reliability.iter().map(|bin| bin.rows).max().unwrap_or(1).max(1) as f64;
    if let Some(rule) = rule {
        for bin in &rule.reliability {
            let title =
                format!("the rule: {} rows, said {:.2}, right {:.2}", bin.rows, bin.confidence, bin.accuracy);
            canvas.circle((x.at(bin.confidence), y.at(bin.accuracy)), 4.0, "hollow", &title);
        }
    }
    let points: Vec<_> =
        model.reliability.iter().map(|bin| (x.at(bin.confidence), y.at(bin.accuracy))).collect();
    canvas.polyline(&points, "curve ours");
    for bin in &model.reliability {
        let r = 3.0 + 9.0 * (bin.rows as f64 / most).sqrt();
        let title = format!("{} rows, said {:.2}, right {:.2}", bin.rows, bin.confidence, bin.accuracy);
        canvas.circle((x.at(bin.confidence), y.at(bin.accuracy)), r, "ours soft", &title);
    }
    canvas.finish(&format!("Reliability of {}: points on the diagonal are perfectly calibrated", model.title))
}

pub(super) fn percent_axes(canvas: &mut Canvas, x: Scale, y: Scale) {
    for mark in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let label = format!("{:.0} %", mark * 100.0);
        canvas.line((x.range.0, y.at(mark)), (x.range.1, y.at(mark)), "grid");
        canvas.text((x.range.0 - 6.0, y.at(mark) + 4.0), Anchor::End, "tick", &label);
        let anchor = if mark == 1.0 { Anchor::End } else { Anchor::Middle };
        canvas.text(
            (x.at(mark) + if mark == 1.0 { 8.0 } else { 0.0 }, y.range.0 + 18.0),
            anchor,
            "tick",
            &label,
        );
    }
}

/// Recall and precision of each tier, the model's joined to the rule's.
pub(super) fn tiers(model: &Detail, rule: &Detail) -> String {
    let (left, gap, top, row) = (90.0, 50.0, 30.0, 50.0);
    let panel = (WIDTH - left - gap - 20.0) / 2.0;
    let bottom = top + row * model.tiers.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 26.0);
    for (at, title) in ["found, of those in it", "right, of those put in it"].into_iter().enumerate() {
        let from = left + at as f64 * (panel + gap);
        let x = Scale { domain: (0.0, 1.0), range: (from, from + panel) };
        canvas.text((from + panel / 2.0, 14.0), Anchor::Middle, "axis", title);
        for mark in [0.0, 0.5, 1.0] {
            canvas.line((x.at(mark), top), (x.at(mark), bottom), "grid");
            canvas.text(
                (x.at(mark), bottom + 18.0),
                Anchor::Middle,
                "tick",
                &format!("{:.0} %", mark * 100.0),
            );
        }
        for (k, (ours, theirs)) in model.tiers.iter().zip(&rule.tiers).enumerate() {
            let y = top + row * (k as f64 + 0.5);
            let value = |tier: &super::TierFigures| if at == 0 { tier.recall } else { tier.precision };
            dumbbell(&mut canvas, x, y, value(ours), value(theirs));
        }
    }
    for (k, tier) in model.tiers.iter().enumerate() {
        let y = top + row * (k as f64 + 0.5);
        canvas.text((left - 12.0, y), Anchor::End, "label", &shortened(&tier.name, 11));
        canvas.text((left - 12.0, y + 14.0), Anchor::End, "tick", &words::thousands(tier.rows as usize));
    }
    canvas.finish("Recall and precision of each tier, model against rule; the table below has the numbers")
}

fn dumbbell(canvas: &mut Canvas, x: Scale, y: f64, ours: Option<f64>, theirs: Option<f64>) {
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        canvas.line((x.at(theirs), y), (x.at(ours), y), "whisker other");
    }
    if let Some(theirs) = theirs {
        canvas.circle((x.at(theirs), y), 5.0, "hollow", &format!("the rule: {:.0} %", theirs * 100.0));
    }
    if let Some(ours) = ours {
        canvas.circle((x.at(ours), y), 5.0, "ours", &format!("the model: {:.0} %", ours * 100.0));
    }
}

/// Loss on the rows learned from and on the members set aside, by step.
pub(super) fn curve(detail: &Detail) -> String {
    let (width, left, top, bottom) = (230.0, 44.0, 8.0, 118.0);
    let losses = || detail.curve.iter().flat_map(|point| [point.train, point.validation]);
    let (low, high) =
        losses().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let pad = ((high - low) * 0.08).max(1e-6);
    let last = detail.curve.last().map_or(1, |point| point.step);
    let first = detail.curve.first().map_or(0, |point| point.step);
    let x = Scale { domain: (f64::from(first), f64::from(last)), range: (left, width - 10.0) };
    let y = Scale { domain: (low - pad, high + pad), range: (bottom, top) };
    let mut canvas = Canvas::new(width, bottom + 40.0);
    let marks = ticks(y.domain, 3);
    for mark in &marks {
        canvas.line((left, y.at(*mark)), (width - 10.0, y.at(*mark)), "grid");
        canvas.text((left - 6.0, y.at(*mark) + 4.0), Anchor::End, "tick", &tick_label(*mark, &marks));
    }
    for mark in ticks(x.domain, 3).into_iter().filter(|mark| mark.fract() == 0.0) {
        canvas.text((x.at(mark), bottom + 18.0), Anchor::Middle, "tick", &format!("{mark:.0}"));
    }
    let unit = match detail.model.as_str() {
        "dnn" | "corn" => "epochs",
        "boosting" => "rounds",
        _ => "iterations",
    };
    canvas.text((f64::midpoint(left, width - 10.0), bottom + 36.0), Anchor::Middle, "axis", unit);
    let points = |of: fn(&crate::models::CurvePoint) -> f64| -> Vec<(f64, f64)> {
        detail.curve.iter().map(|point| (x.at(f64::from(point.step)), y.at(of(point)))).collect()
    };
    canvas.polyline(&points(|point| point.train), "curve rule");
    canvas.polyline(&points(|point| point.validation), "curve ours");
    if let Some(best) = detail.curve.iter().min_by(|a, b| a.validation.total_cmp(&b.validation)) {
        let title = format!("least at {} {unit}: {:.4}", best.step, best.validation);
        canvas.circle((x.at(f64::from(best.step)), y.at(best.validation)), 4.0, "ours", &title);
    }
    canvas.finish(&format!("Learning curve of {}: training and validation loss", detail.title))
}

/// How much worse the probabilities get when each feature is shuffled.
pub(super) fn importance(features: &[Importance]) -> String {
    let (left, top, row) = (150.0, 4.0, 24.0);
    let most = features.iter().map(|feature| feature.worsening + feature.spread).fold(1e-9, f64::max);
    let x = Scale { domain: (0.0, most), range: (left, WIDTH - 58.0) };
    let mut canvas = Canvas::new(WIDTH, top + row * features.len() as f64 + 4.0);
    for (at, feature) in features.iter().enumerate() {
        let y = top + row * at as f64;
        let end = x.at(feature.worsening.max(0.0));
        canvas.text((left - 8.0, y + 16.0), Anchor::End, "label", &shortened(&feature.feature, 21));
        canvas.rect((left, y + 5.0), ((end - left).max(1.0), 14.0), "bar", 1.0);
        let ends = (
            x.at((feature.worsening - feature.spread).max(0.0)),
            x.at(feature.worsening + feature.spread).max(left),
        );
        canvas.line((ends.0, y + 12.0), (ends.1, y + 12.0), "spread");
        canvas.text(
            (WIDTH - 4.0, y + 16.0),
            Anchor::End,
            "label number",
            &format!("{:.4}", feature.worsening),
        );
    }
    canvas.finish("Features by how much the ranked probability score worsens when each is shuffled")
}

/// Ways of making lists by their NDCG: of all items, and of new ones, the bundle's own last.
pub(super) fn recommenders(ways: &[Way]) -> String {
    let (left, top, row) = (120.0, 0.0, 34.0);
    let scores = |way: &Way| [way.all.ndcg, way.new.ndcg];
    let most = ways.iter().flat_map(scores).fold(1e-9, f64::max);
    let x = Scale { domain: (0.0, most), range: (left, WIDTH - 58.0) };
    let mut canvas = Canvas::new(WIDTH, top + row * ways.len() as f64 + 4.0);
    for (at, way) in ways.iter().enumerate() {
        let y = top + row * at as f64;
        let class = if at + 1 == ways.len() { "bar" } else { "bar rule" };
        canvas.text((left - 8.0, y + 16.0), Anchor::End, "label", &way.name);
        for (ndcg, below, opacity) in [(way.all.ndcg, 0.0, 1.0), (way.new.ndcg, 14.0, 0.55)] {
            canvas.rect((left, y + 4.0 + below), ((x.at(ndcg) - left).max(1.0), 12.0), class, opacity);
            let label = (x.at(ndcg) + 6.0, y + 14.0 + below);
            canvas.text(label, Anchor::Start, "label number", &format!("{ndcg:.3}"));
        }
    }
    canvas.finish("Ways of making lists by their NDCG over ten items: of all items, and of new ones")
}

/// At most `most` letters, the last an ellipsis where some are missing.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
