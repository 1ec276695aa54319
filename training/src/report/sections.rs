//! What the template gets for the sections beyond the leader board: charts, sentences and rows in the order to be read.

use minijinja::{Value, context};

use super::{Report, charts, curves};
use crate::{
    evaluate::{board::Verdict, slices::Slice, words},
    metrics::Estimate,
    recommend::Way,
    train::{
        profile::SegmentRecord,
        quality::{Drift, FeatureQuality},
    },
};

/// Below the first limit a stability index is little by custom, from the second it is much (Siddiqi 2006).
const DRIFT_LIMITS: [f64; 2] = [0.1, 0.25];
/// Where the bars of the drift chart end at the latest, so that the limits stay apart.
const LONGEST_DRIFT: f64 = 0.6;
/// Features in a chart of the worst.
const MOST_SHOWN: usize = 12;

fn chart(svg: String) -> Value {
    Value::from_safe_string(svg)
}

/// How well those are found who reach the top.
pub(super) fn gains(report: &Report) -> Vec<Value> {
    let every_row_is_a_member = report.boards.first().is_some_and(|board| board.rows == board.members);
    let noun = if every_row_is_a_member { "members who" } else { "rows that" };
    let section = |gains: &crate::evaluate::gains::Gains| {
        let tier = &report.run.tiers[usize::from(gains.at_least) - 1].name;
        let is_top = usize::from(gains.at_least) == report.run.tiers.len();
        let name = if is_top { tier.clone() } else { format!("{tier} or higher") };
        let tenth = gains.depths.iter().find(|depth| depth.taken == 0.1);
        let sentence = tenth.map(|depth| {
            format!(
                "Of the {} {noun} reached {name}, {:.0} % are in the tenth with the highest probability: {:.1} times \
                 as many as in a tenth drawn at random. By the rule it is {:.0} %.",
                words::thousands(gains.reached),
                depth.found * 100.0,
                depth.lift,
                depth.rule_found * 100.0
            )
        });
        context! {
            name => name,
            sentence => sentence,
            depths => &gains.depths,
            gains => chart(curves::gains(gains, &name)),
            lift => chart(curves::lift(gains, &name)),
        }
    };
    report.gains.iter().map(section).collect()
}

/// The figures of each slice.
pub(super) fn slices(report: &Report) -> Vec<Value> {
    let section = |slicing: &crate::evaluate::slices::Slicing| {
        context! {
            by => &slicing.by,
            chart => chart(curves::slices(slicing)),
            slices => slicing.slices.iter().map(slice).collect::<Vec<_>>(),
        }
    };
    report.slices.iter().map(section).collect()
}

fn slice(slice: &Slice) -> Value {
    let cell = |label: &str, estimate: Estimate, signed: bool, verdict: Option<Verdict>| {
        let number = |x: f64| if signed { words::signed(x) } else { format!("{x:.3}") };
        context! {
            label => label,
            value => number(estimate.value),
            low => number(estimate.low),
            high => number(estimate.high),
            verdict => verdict,
        }
    };
    context! {
        name => &slice.name,
        rows => slice.rows,
        members => slice.members,
        cells => [
            cell("accuracy", slice.accuracy, false, None),
            cell("MAE", slice.mae, false, None),
            cell("bias", slice.bias, true, None),
            cell("MAE less the rule’s", slice.versus_rule, true, slice.verdict()),
        ],
    }
}

/// Partial dependence, all on one scale of tiers.
pub(super) fn effects(report: &Report) -> Vec<Value> {
    let effects = &report.run.effects;
    let tiers = effects
        .iter()
        .flat_map(|effect| effect.points.iter().map(|point| point.expected_tier).chain(effect.missing));
    let (low, high) =
        tiers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let pad = ((high - low) * 0.08).max(0.02);
    let section = |effect: &crate::train::effects::Effect| {
        context! {
            feature => &effect.feature,
            missing => effect.missing.is_some(),
            chart => chart(curves::effect(effect, (low - pad, high + pad))),
        }
    };
    effects.iter().map(section).collect()
}

/// How members behave: what the profile's heads are worth, and the segments; none for a run without a profile.
pub(super) fn profile(report: &Report) -> Option<Value> {
    let profile = report.run.profile.as_ref()?;
    let heads = profile.test.as_ref().unwrap_or(&profile.cross_validation);
    let held = if profile.test.is_some() { "test rows" } else { "rows held out in cross-validation" };
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let mut sentences = Vec::new();
    if let Some(auc) = heads.auc {
        let recency = heads.auc_recency.map_or(String::new(), |auc| {
            format!("; the days since the last purchase do so in {}", percent(auc))
        });
        sentences.push(format!(
            "Of the {} {held}, {} bought nothing in the period. The network gives a member who lapses a higher chance of it \
             than one who does not in {} of such pairs{recency}. Its squared error (Brier score) is {:.4}; the same chance \
             for everybody has {:.4}.",
            words::thousands(heads.rows),
            percent(heads.lapsed),
            percent(auc),
            heads.brier,
            heads.brier_share
        ));
    }
    sentences.push(format!(
        "It misses the day of the next purchase by {:.1} days on average; the same day for everybody, the median, by {:.1}.",
        heads.days, heads.days_median
    ));
    let unit = 10_f64.powi(i32::from(report.run.data.currency_exponent));
    let segment = |segment: &SegmentRecord| {
        let traits = segment.traits.iter().map(|one| {
            let number = |x: f32| words::short_number(f64::from(x));
            format!("{} {} ({} overall)", one.feature, number(one.median), number(one.overall))
        });
        context! {
            name => &segment.name,
            share => segment.share,
            lapsed => segment.lapsed,
            spend => words::thousands((segment.spend / unit).max(0.0).round() as usize),
            tiers => &segment.tiers,
            traits => traits.collect::<Vec<_>>().join(", "),
        }
    };
    Some(context! {
        model => words::model(&profile.model),
        sentences => sentences,
        segments => profile.segments.iter().map(segment).collect::<Vec<_>>(),
    })
}

/// What is recommended, and how good it is; none for a run that recommends nothing.
pub(super) fn recommend(report: &Report) -> Option<Value> {
    let recommend = report.run.recommend.as_ref()?;
    let Some(test) = &recommend.test else {
        return Some(context! { items => words::thousands(recommend.items) });
    };
    let ours = test.ways.last()?;
    let best_other = |score: fn(&Way) -> f64| {
        let others = test.ways.iter().take(test.ways.len() - 1);
        others.max_by(|a, b| score(a).total_cmp(&score(b))).map(|way| (way.name.clone(), score(way)))
    };
    let mut sentences = Vec::new();
    for (what, score, hit) in [
        ("Over all items", (|way: &Way| way.all.ndcg) as fn(&Way) -> f64, ours.all.hit),
        ("Over items that the member has not bought before", |way: &Way| way.new.ndcg, ours.new.hit),
    ] {
        let Some((name, other)) = best_other(score) else { continue };
        let verdict = if score(ours) > other { "above" } else { "not above" };
        sentences.push(format!(
            "{what} the bundle’s ten have an NDCG of {:.3}, {verdict} that of the best of the others, {name} ({other:.3}); {:.1} % \
             of the members bought at least one of the ten.",
            score(ours),
            hit * 100.0
        ));
    }
    sentences.push(format!(
        "Its probabilities add up to {:.2} purchases among a member’s ten; there were {:.2}.",
        test.expected[0], test.expected[1]
    ));
    Some(context! {
        items => words::thousands(recommend.items),
        test => test,
        welcome => test.first_orders.iter().any(|few| few.without_welcome.is_some()),
        chart => chart(charts::recommenders(&test.ways)),
        sentences => sentences,
    })
}

/// The features' values, those that drifted most or lack most first; none for a run that did not look at them.
pub(super) fn quality(report: &Report) -> Option<Value> {
    let mut features: Vec<&FeatureQuality> = report.run.quality.iter().collect();
    let key = |feature: &FeatureQuality| {
        (feature.drift.map_or(0.0, |drift| drift.psi), most_missing(feature), feature.train.outliers)
    };
    features.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal));
    let drifted = features.iter().any(|feature| feature.drift.is_some());
    let worst: Vec<&FeatureQuality> = features.iter().copied().take(MOST_SHOWN).collect();
    let mut lacking: Vec<&FeatureQuality> =
        features.iter().copied().filter(|feature| most_missing(feature) >= 0.001).collect();
    lacking.sort_by(|a, b| most_missing(b).total_cmp(&most_missing(a)));
    lacking.truncate(MOST_SHOWN);
    let row = |feature: &&FeatureQuality| {
        context! {
            feature => feature,
            verdict => feature.drift.map(verdict),
        }
    };
    (!features.is_empty()).then(|| {
        context! {
            sentence => sentence(&features),
            missing => (!lacking.is_empty()).then(|| chart(curves::missing(&lacking))),
            drift => drifted.then(|| chart(curves::drift(&worst, DRIFT_LIMITS, LONGEST_DRIFT))),
            cut => (key(worst[0]).0 > LONGEST_DRIFT).then_some(LONGEST_DRIFT),
            features => features.iter().map(row).collect::<Vec<_>>(),
        }
    })
}

fn most_missing(feature: &FeatureQuality) -> f64 {
    feature.test.map_or(feature.train.missing, |test| test.missing.max(feature.train.missing))
}

/// Little, some or much; no more than twice what chance gives is little whatever the index.
fn verdict(drift: Drift) -> &'static str {
    match drift.psi {
        psi if psi < DRIFT_LIMITS[0] || psi <= 2.0 * drift.chance => "little",
        psi if psi < DRIFT_LIMITS[1] => "some",
        _ => "much",
    }
}

fn sentence(features: &[&FeatureQuality]) -> String {
    let counted =
        |test: &dyn Fn(&FeatureQuality) -> bool| features.iter().filter(|feature| test(feature)).count();
    let lacking = counted(&|feature| most_missing(feature) >= 0.05);
    let missing = match lacking {
        0 => "No feature is missing in more than 5 % of the rows".to_owned(),
        n => format!("{n} of {} features are missing in more than 5 % of the rows", features.len()),
    };
    if features.iter().all(|feature| feature.drift.is_none()) {
        return format!("{missing}. There is no test period, so drift cannot be told.");
    }
    let of = |wanted: &str| counted(&|feature| feature.drift.map(verdict) == Some(wanted));
    let drift = match (of("much"), of("some")) {
        (0, 0) => "none has drifted notably between the training and the test period".to_owned(),
        (0, some) => {
            format!("between the training and the test period {some} drifted somewhat and none much")
        }
        (much, some) => {
            format!("between the training and the test period {much} drifted much and {some} somewhat")
        }
    };
    format!("{missing}; {drift}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::quality::Side;

    fn feature(missing: f64, psi: Option<f64>) -> FeatureQuality {
        let side = Side { missing, outliers: 0.01, median: Some(1.0) };
        FeatureQuality {
            feature: "x".into(),
            limits: None,
            train: side,
            test: psi.map(|_| side),
            drift: psi.map(|psi| Drift { psi, chance: 0.01 }),
        }
    }

    #[test]
    fn limits_are_the_customary_ones_unless_chance_gives_as_much() {
        let of = |psi, chance| verdict(Drift { psi, chance });
        assert_eq!([of(0.09, 0.0), of(0.1, 0.0), of(0.25, 0.0)], ["little", "some", "much"]);
        assert_eq!([of(0.3, 0.15), of(0.3, 0.14)], ["little", "much"]);
    }

    #[test]
    fn the_sentence_counts_what_is_missing_and_what_drifted() {
        let [lacking, calm, much, some] = [
            feature(0.2, Some(0.0)),
            feature(0.0, Some(0.05)),
            feature(0.0, Some(0.4)),
            feature(0.0, Some(0.2)),
        ];
        let found = sentence(&[&lacking, &calm, &much, &some]);
        assert!(found.starts_with("1 of 4 features are missing"), "{found}");
        assert!(found.ends_with("1 drifted much and 1 somewhat."), "{found}");
        assert!(sentence(&[&calm]).contains("none has drifted notably"));
        assert!(sentence(&[&feature(0.0, None)]).contains("no test period"));
    }
}
