//! Charts of the sections beyond the leader board: gains and lift, how many in each tier, errors, slices, effects, drift.

use super::{
    Detail,
    charts::{WIDTH, percent_axes, shortened},
    svg::{Anchor, Canvas, Scale, tick_label, ticks},
};
use crate::{
    evaluate::{gains::Gains, slices::Slicing, words},
    train::{effects::Effect, quality::FeatureQuality},
};

/// The share of those who reach a tier that is found among the first members, by the model, by the rule and at random.
pub(super) fn gains(gains: &Gains, name: &str) -> String {
    let (left, top, bottom) = (66.0, 10.0, 270.0);
    let x = Scale { domain: (0.0, 1.0), range: (left, WIDTH - 12.0) };
    let y = Scale { domain: (0.0, 1.0), range: (bottom, top) };
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    percent_axes(&mut canvas, x, y);
    let middle = f64::midpoint(x.range.0, x.range.1);
    canvas.text((middle, bottom + 38.0), Anchor::Middle, "axis", "members taken, highest probability first");
    canvas.upright((12.0, f64::midpoint(top, bottom)), "axis", "found, of those who got there");
    canvas.line((x.at(0.0), y.at(0.0)), (x.at(1.0), y.at(1.0)), "rule-line");
    let perfect = gains.reached as f64 / gains.rows as f64;
    canvas.polyline(
        &[(x.at(0.0), y.at(0.0)), (x.at(perfect), y.at(1.0)), (x.at(1.0), y.at(1.0))],
        "threshold none",
    );
    for (curve, class) in [(&gains.rule, "curve rule"), (&gains.model, "curve ours")] {
        let at = |(step, found): (usize, &f64)| (x.at(step as f64 / (curve.len() - 1) as f64), y.at(*found));
        canvas.polyline(&curve.iter().enumerate().map(at).collect::<Vec<_>>(), class);
    }
    for depth in &gains.depths {
        let title = format!("{:.0} % taken: {:.0} % found", depth.taken * 100.0, depth.found * 100.0);
        canvas.circle((x.at(depth.taken), y.at(depth.found)), 4.0, "ours", &title);
    }
    canvas.finish(&format!("Cumulative gains for reaching {name}; the table below has the numbers"))
}

/// How many times as many as at random reach a tier, in each tenth of the members.
pub(super) fn lift(gains: &Gains, name: &str) -> String {
    let (left, top, bottom) = (50.0, 14.0, 270.0);
    let (ours, rule) = (Gains::lift_by_tenth(&gains.model), Gains::lift_by_tenth(&gains.rule));
    let most = ours.iter().chain(&rule).copied().fold(1.0, f64::max);
    let y = Scale { domain: (0.0, most * 1.06), range: (bottom, top) };
    let step = (WIDTH - left - 8.0) / ours.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    let marks = ticks(y.domain, 5);
    for mark in &marks {
        canvas.line((left, y.at(*mark)), (WIDTH - 8.0, y.at(*mark)), "grid");
        let label = format!("{}×", tick_label(*mark, &marks));
        canvas.text((left - 6.0, y.at(*mark) + 4.0), Anchor::End, "tick", &label);
    }
    canvas.line((left, y.at(1.0)), (WIDTH - 8.0, y.at(1.0)), "rule-line");
    for (at, (ours, rule)) in ours.iter().zip(&rule).enumerate() {
        let from = left + step * at as f64;
        canvas.rect((from + 4.0, y.at(*ours)), (step - 8.0, bottom - y.at(*ours)), "bar", 1.0);
        let title =
            format!("tenth {}: model {ours:.1} times, rule {rule:.1} times as many as at random", at + 1);
        canvas.circle((from + step / 2.0, y.at(*rule)), 4.5, "hollow", &title);
        canvas.text((from + step / 2.0, bottom + 18.0), Anchor::Middle, "tick", &(at + 1).to_string());
    }
    let middle = f64::midpoint(left, WIDTH);
    canvas.text(
        (middle, bottom + 38.0),
        Anchor::Middle,
        "axis",
        "tenths of the members, highest probability first",
    );
    canvas.finish(&format!(
        "Lift for reaching {name} by tenths of the members; the dashed line is a random choice"
    ))
}

/// Rows in each tier: as it came, as the model decides, as the rule decides.
pub(super) fn counts(model: &Detail, rule: &Detail) -> String {
    let (left, top, row, bar) = (96.0, 4.0, 52.0, 13.0);
    let decided = |detail: &Detail, at: usize| detail.confusion.iter().map(|row| row[at]).sum::<u64>();
    let of = |at: usize| {
        [(model.tiers[at].rows, "bar ink"), (decided(model, at), "bar"), (decided(rule, at), "bar rule")]
    };
    let most = (0..model.tiers.len()).flat_map(of).map(|(n, _)| n).max().unwrap_or(1).max(1);
    let x = Scale { domain: (0.0, most as f64), range: (left, WIDTH - 56.0) };
    let mut canvas = Canvas::new(WIDTH, top + row * model.tiers.len() as f64);
    for (at, tier) in model.tiers.iter().enumerate() {
        let y = top + row * at as f64;
        canvas.text((left - 10.0, y + 24.0), Anchor::End, "label", &shortened(&tier.name, 11));
        for (place, (n, class)) in of(at).into_iter().enumerate() {
            let y = y + bar * place as f64;
            canvas.rect((left, y + 1.0), ((x.at(n as f64) - left).max(1.0), bar - 2.0), class, 1.0);
            let number = words::thousands(n as usize);
            canvas.text((x.at(n as f64) + 6.0, y + bar - 2.0), Anchor::Start, "tick", &number);
        }
    }
    canvas.finish("Rows in each tier: as it came, as the model decided and as the rule decided")
}

/// By how many tiers decisions are off, the model's beside the rule's.
pub(super) fn errors(model: &Detail, rule: &Detail) -> String {
    let (ours, theirs) = (model.errors(), rule.errors());
    let middle = ours.len() / 2;
    let widest = (0..=middle).rev().find(|d| {
        let both = [&ours, &theirs];
        *d <= 1 || both.iter().any(|shares| shares[middle - d] > 0.0005 || shares[middle + d] > 0.0005)
    });
    let widest = widest.unwrap_or(middle).min(middle) as i64;
    let (left, top, bottom) = (8.0, 24.0, 236.0);
    let most = ours.iter().chain(&theirs).copied().fold(0.01, f64::max);
    let y = Scale { domain: (0.0, most), range: (bottom, top) };
    let step = (WIDTH - 2.0 * left) / (2 * widest + 1) as f64;
    let bar = (step / 2.0 - 6.0).clamp(6.0, 30.0);
    let mut canvas = Canvas::new(WIDTH, bottom + 48.0);
    canvas.line((left, bottom), (WIDTH - left, bottom), "grid");
    for off in -widest..=widest {
        let at = (middle as i64 + off) as usize;
        let centre = left + step * ((off + widest) as f64 + 0.5);
        for (share, class, from) in
            [(ours[at], "bar", centre - bar - 1.0), (theirs[at], "bar rule", centre + 1.0)]
        {
            canvas.rect((from, y.at(share)), (bar, bottom - y.at(share)), class, 1.0);
            let label = format!("{:.0}", share * 100.0);
            canvas.text((from + bar / 2.0, y.at(share) - 5.0), Anchor::Middle, "tick", &label);
        }
        let label = match off {
            0 => "right".to_owned(),
            off if off < 0 => format!("−{}", -off),
            off => format!("+{off}"),
        };
        canvas.text((centre, bottom + 18.0), Anchor::Middle, "label", &label);
    }
    canvas.text(
        (WIDTH / 2.0, bottom + 40.0),
        Anchor::Middle,
        "axis",
        "tiers too low (−) or too high (+), % of rows",
    );
    canvas.finish("Shares of rows by how many tiers the decision is off, model beside rule")
}

/// The mean absolute error in each slice with its interval, beside that of all rows.
pub(super) fn slices(slicing: &Slicing) -> String {
    let rows = slicing.slices.iter().map(|slice| slice.rows).sum::<usize>().max(1) as f64;
    let all = slicing.slices.iter().map(|slice| slice.mae.value * slice.rows as f64).sum::<f64>() / rows;
    let (left, right, top, row) = (150.0, WIDTH - 66.0, 24.0, 38.0);
    let most = slicing.slices.iter().map(|slice| slice.mae.high).fold(all, f64::max).max(1e-6);
    let x = Scale { domain: (0.0, most * 1.04), range: (left, right) };
    let bottom = top + row * slicing.slices.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    let marks = ticks(x.domain, 4);
    for mark in &marks {
        canvas.line((x.at(*mark), top), (x.at(*mark), bottom), "grid");
        canvas.text((x.at(*mark), bottom + 18.0), Anchor::Middle, "tick", &tick_label(*mark, &marks));
    }
    canvas.line((x.at(all), top), (x.at(all), bottom), "rule-line");
    canvas.text((f64::midpoint(left, right), bottom + 38.0), Anchor::Middle, "axis", "MAE, tiers");
    canvas.text((WIDTH - 4.0, 14.0), Anchor::End, "axis", "bias");
    for (at, slice) in slicing.slices.iter().enumerate() {
        let y = top + row * at as f64 + row / 2.0;
        canvas.text((left - 10.0, y - 1.0), Anchor::End, "label", &shortened(&slice.name, 20));
        let members = format!("{} members", words::thousands(slice.members));
        canvas.text((left - 10.0, y + 13.0), Anchor::End, "tick", &members);
        let mae = slice.mae;
        canvas.line((x.at(mae.low), y), (x.at(mae.high), y), "whisker ours");
        let title = format!("{}: {:.3}, {:.3} to {:.3}", slice.name, mae.value, mae.low, mae.high);
        canvas.circle((x.at(mae.value), y), 5.0, "ours", &title);
        let sure = slice.bias.low > 0.0 || slice.bias.high < 0.0;
        let class = if sure { "label number strong" } else { "label number" };
        canvas.text((WIDTH - 4.0, y + 4.0), Anchor::End, class, &words::signed(slice.bias.value));
    }
    canvas.finish(&format!("MAE by {} with 95 % intervals; the table below has the numbers", slicing.by))
}

/// The expected tier by a feature's value; `tiers` is the range of all the features' charts.
pub(super) fn effect(effect: &Effect, tiers: (f64, f64)) -> String {
    let (width, left, top, bottom) = (230.0, 40.0, 8.0, 118.0);
    let right = if effect.missing.is_some() { width - 52.0 } else { width - 10.0 };
    let known =
        |at: Option<&crate::train::effects::EffectPoint>| at.map_or(0.0, |point| f64::from(point.value));
    let x =
        Scale { domain: (known(effect.points.first()), known(effect.points.last())), range: (left, right) };
    let y = Scale { domain: tiers, range: (bottom, top) };
    let mut canvas = Canvas::new(width, bottom + 26.0);
    let marks = ticks(y.domain, 3);
    for mark in &marks {
        canvas.line((left, y.at(*mark)), (width - 10.0, y.at(*mark)), "grid");
        canvas.text((left - 6.0, y.at(*mark) + 4.0), Anchor::End, "tick", &tick_label(*mark, &marks));
    }
    // Long numbers are fewer, so that they do not touch on a phone.
    let marks = ticks(x.domain, if x.domain.1 >= 1000.0 { 1 } else { 2 });
    for mark in &marks {
        canvas.text((x.at(*mark), bottom + 20.0), Anchor::Middle, "tick", &words::short_number(*mark));
    }
    let points: Vec<_> =
        effect.points.iter().map(|point| (x.at(f64::from(point.value)), y.at(point.expected_tier))).collect();
    for (at, _) in &points {
        canvas.line((*at, bottom), (*at, bottom + 5.0), "threshold");
    }
    canvas.polyline(&points, "curve ours");
    if let Some(missing) = effect.missing {
        let at = width - 26.0;
        canvas.circle((at, y.at(missing)), 5.0, "hollow", &format!("missing: {missing:.2}"));
        canvas.text((at, bottom + 20.0), Anchor::Middle, "tick", "none");
    }
    canvas.finish(&format!("Expected tier by {}", effect.feature))
}

/// The stability index of the features that drifted most, with the customary limits; the longest bars are cut.
pub(super) fn drift(worst: &[&FeatureQuality], limits: [f64; 2], longest: f64) -> String {
    let (left, top, row) = (150.0, 22.0, 24.0);
    let psi = |feature: &FeatureQuality| feature.drift.map_or(0.0, |drift| drift.psi);
    let most = worst.iter().map(|feature| psi(feature)).fold(limits[1] * 1.1, f64::max).min(longest);
    let x = Scale { domain: (0.0, most), range: (left, WIDTH - 52.0) };
    let bottom = top + row * worst.len() as f64 + 4.0;
    let mut canvas = Canvas::new(WIDTH, bottom + 4.0);
    for limit in limits {
        canvas.line((x.at(limit), top), (x.at(limit), bottom), "rule-line");
        canvas.text((x.at(limit), 14.0), Anchor::Middle, "tick", &limit.to_string());
    }
    for (at, feature) in worst.iter().enumerate() {
        let (y, psi) = (top + row * at as f64, psi(feature));
        canvas.text((left - 8.0, y + 16.0), Anchor::End, "label", &shortened(&feature.feature, 21));
        let class = if psi >= limits[0] { "bar" } else { "bar rule" };
        canvas.rect((left, y + 5.0), ((x.at(psi.min(most)) - left).max(1.0), 14.0), class, 1.0);
        canvas.text((WIDTH - 4.0, y + 16.0), Anchor::End, "label number", &format!("{psi:.3}"));
    }
    canvas
        .finish("Population stability index of the features that drifted most, with the limits 0.1 and 0.25")
}

/// The shares of missing values in training and test.
pub(super) fn missing(features: &[&FeatureQuality]) -> String {
    let (left, top, row) = (150.0, 4.0, 24.0);
    let shares = |feature: &FeatureQuality| (feature.train.missing, feature.test.map(|test| test.missing));
    let larger = |feature: &&FeatureQuality| shares(feature).1.unwrap_or_default().max(shares(feature).0);
    let most = features.iter().map(larger).fold(0.01, f64::max);
    let x = Scale { domain: (0.0, most), range: (left, WIDTH - 62.0) };
    let bottom = top + row * features.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 24.0);
    let marks = ticks((0.0, most * 100.0), 3);
    for mark in &marks {
        let at = x.at(mark / 100.0);
        canvas.line((at, top), (at, bottom), "grid");
        canvas.text((at, bottom + 18.0), Anchor::Middle, "tick", &format!("{} %", tick_label(*mark, &marks)));
    }
    for (at, feature) in features.iter().enumerate() {
        let y = top + row * (at as f64 + 0.5);
        let (train, test) = shares(feature);
        canvas.text((left - 12.0, y + 4.0), Anchor::End, "label", &shortened(&feature.feature, 20));
        if let Some(test) = test {
            canvas.line((x.at(train), y), (x.at(test), y), "whisker other");
            canvas.circle((x.at(test), y), 5.0, "hollow", &format!("test: {:.1} %", test * 100.0));
        }
        canvas.circle((x.at(train), y), 5.0, "ours", &format!("training: {:.1} %", train * 100.0));
        let share = format!("{:.1} %", larger(feature) * 100.0);
        canvas.text((WIDTH - 4.0, y + 4.0), Anchor::End, "label number", &share);
    }
    canvas.finish("Shares of missing values in training and test, most first")
}
