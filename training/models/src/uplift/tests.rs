use super::{
    qini::{Curve, Order, Outcomes, gain},
    *,
};
use crate::{
    boosting::Params as Trees,
    policy::respond::{Arm, Params, Responder, uniform},
};

/// Members of a simulated shop, of whom some were offered 100 points by lot; and what each would have gained.
fn shop(members: usize, periods: u32, most: f64, seed: u64) -> (Trial, Vec<f64>) {
    const D: usize = 5;
    let contexts: Vec<f32> = (0..members * D)
        .map(|at| {
            let sum: f64 = (0..12).map(|part| uniform(41, &[at as u64, part])).sum();
            (sum - 6.0) as f32
        })
        .collect();
    let arms = [0, 100].map(|points| Arm { name: points.to_string(), points });
    let shop = Responder::new(&contexts, D, arms.into(), Params { most, ..Params::default() }, seed).unwrap();
    let (mut trial, mut truth) = (Trial { width: D, ..Trial::default() }, Vec::new());
    for (member, period) in (0..members).flat_map(|m| (0..periods).map(move |t| (m, t))) {
        let chance = if member % 2 == 0 { 0.5 } else { 0.3 };
        let treated = uniform(seed, &[77, member as u64, u64::from(period)]) < chance;
        let response = shop.respond(member, period, usize::from(treated));
        trial.inputs.extend(&contexts[member * D..(member + 1) * D]);
        trial.treated.push(treated);
        trial.outcome.push(response.reward);
        trial.cost.push(response.cost);
        trial.chance.push(if treated { chance } else { 1.0 - chance });
        trial.member.push(member as u32);
        truth.push(shop.expected(member, period, 1).reward - shop.expected(member, period, 0).reward);
    }
    (trial, truth)
}

fn outcomes(trial: &Trial) -> Outcomes<'_> {
    Outcomes { treated: &trial.treated, outcome: &trial.outcome, chance: &trial.chance }
}

/// Q(φ) as the module's words say it, for each k anew.
fn by_hand(scores: &[f64], of: &Outcomes<'_>) -> Vec<(f64, f64, f64)> {
    let n = scores.len() as f64;
    let mut levels: Vec<f64> = scores.to_vec();
    levels.sort_by(|a, b| b.total_cmp(a));
    levels.dedup();
    let mut points = vec![(0.0, 0.0, 0.0)];
    for level in levels {
        let sum = |treated: bool, of_row: &dyn Fn(usize) -> f64| -> f64 {
            let rows = (0..scores.len()).filter(|at| scores[*at] >= level && of.treated[*at] == treated);
            rows.map(of_row).sum()
        };
        let weight = |at: usize| 1.0 / of.chance[at];
        let (n1, n0) = (sum(true, &weight), sum(false, &weight));
        let (r1, r0) =
            (sum(true, &|at| of.outcome[at] * weight(at)), sum(false, &|at| of.outcome[at] * weight(at)));
        let k = scores.iter().filter(|score| **score >= level).count() as f64;
        let other = if n0 > 0.0 { r0 * n1 / n0 } else { 0.0 };
        let mean = |r: f64, n: f64| if n > 0.0 { r / n } else { 0.0 };
        points.push((k / n, (r1 - other) / n, (mean(r1, n1) - mean(r0, n0)) * k / n));
    }
    points
}

#[test]
fn curves_are_those_of_their_definition() {
    for seed in 0..20 {
        let u = |at: u64, which: u64| uniform(seed, &[at, which]);
        let n = 60;
        let treated: Vec<bool> = (0..n).map(|at| u(at, 0) < 0.4).collect();
        let outcome: Vec<f64> = (0..n).map(|at| (u(at, 1) * 20.0).floor() - 4.0).collect();
        let chance: Vec<f64> = (0..n).map(|at| 0.2 + 0.6 * u(at, 2)).collect();
        // Many ties, and a few of the highest without a control.
        let scores: Vec<f64> = (0..n).map(|at| (u(at, 3) * 12.0).floor()).collect();
        let of = Outcomes { treated: &treated, outcome: &outcome, chance: &chance };
        let curve = Curve::new(&Order::new(&scores), &of, |_| 1.0);
        let truth = by_hand(&scores, &of);
        assert_eq!(curve.share.len(), truth.len());
        for (at, (share, qini, uplift)) in truth.iter().enumerate() {
            let found = [curve.share[at], curve.qini[at], curve.uplift[at]];
            let off = found.iter().zip([share, qini, uplift]).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < 1e-9, "{found:?} {:?}", truth[at]);
        }
        let area: f64 = truth.windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum();
        assert!((curve.coefficient() - (area - truth[truth.len() - 1].1 / 2.0)).abs() < 1e-9);
    }
}

/// Curves as other programs draw them; tests/conformance/uplift.py writes the file.
#[derive(serde::Deserialize)]
struct Drawn {
    source: String,
    scores: Vec<f64>,
    treated: Vec<bool>,
    outcome: Vec<f64>,
    chance: Vec<f64>,
    share: Vec<f64>,
    qini: Vec<f64>,
    uplift: Vec<f64>,
    coefficient: f64,
    auuc: f64,
}

#[test]
fn curves_are_those_of_scikit_uplift() {
    let cases: Vec<Drawn> =
        serde_json::from_str(include_str!("../../../../tests/conformance/uplift.json")).unwrap();
    assert!(cases.iter().filter(|case| case.source == "scikit-uplift").count() >= 3 && cases.len() >= 5);
    for case in cases {
        let of = Outcomes { treated: &case.treated, outcome: &case.outcome, chance: &case.chance };
        let curve = Curve::new(&Order::new(&case.scores), &of, |_| 1.0);
        let same = |found: &[f64], theirs: &[f64]| {
            found.len() == theirs.len() && found.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-9)
        };
        assert!(same(&curve.share, &case.share), "{}: {:?}", case.source, curve.share);
        assert!(same(&curve.qini, &case.qini), "{}: {:?}", case.source, curve.qini);
        assert!(same(&curve.uplift, &case.uplift), "{}: {:?}", case.source, curve.uplift);
        assert!(
            same(&[curve.coefficient(), curve.auuc()], &[case.coefficient, case.auuc]),
            "{}",
            case.source
        );
    }
}

#[test]
fn a_row_that_counts_twice_is_two_rows() {
    let (trial, _) = shop(60, 1, 1.2, 3);
    let scores: Vec<f64> = (0..60).map(|at| uniform(9, &[at])).collect();
    let times = |at: usize| [0.0, 1.0, 2.0][at % 3];
    let weighted = Curve::new(&Order::new(&scores), &outcomes(&trial), times);
    let places: Vec<usize> = (0..60).flat_map(|at| vec![at; times(at) as usize]).collect();
    let pick = |x: &[f64]| places.iter().map(|at| x[*at]).collect::<Vec<_>>();
    let treated: Vec<bool> = places.iter().map(|at| trial.treated[*at]).collect();
    let (outcome, chance, scores) = (pick(&trial.outcome), pick(&trial.chance), pick(&scores));
    let of = Outcomes { treated: &treated, outcome: &outcome, chance: &chance };
    let repeated = Curve::new(&Order::new(&scores), &of, |_| 1.0);
    assert!((weighted.coefficient() - repeated.coefficient()).abs() < 1e-12);
    assert!((weighted.auuc() - repeated.auuc()).abs() < 1e-12);
}

#[test]
fn without_any_order_there_is_nothing_to_find() {
    let (trial, _) = shop(80, 1, 1.2, 3);
    let curve = Curve::new(&Order::new(&[7.0; 80]), &outcomes(&trial), |_| 1.0);
    assert_eq!((curve.share.len(), curve.coefficient()), (2, 0.0));
    assert!((curve.auuc() - curve.uplift[1] / 2.0).abs() < 1e-12);
    let all = gain(&[true; 80], &outcomes(&trial), |_| 1.0);
    assert!((all - curve.uplift[1]).abs() < 1e-12);
    assert_eq!(gain(&[false; 80], &outcomes(&trial), |_| 1.0), 0.0);
}

#[test]
fn learners_find_those_whom_points_move() {
    let (trial, truth) = shop(3000, 4, 1.8, 5);
    let fitted = CrossFitted::fit(&Trees::default(), &trial, 4, 1).unwrap();
    let said = fitted.predict_all(&trial);
    let oracle = Curve::of_truth(&Order::new(&truth), &truth).coefficient();
    for learner in [Learner::T, Learner::X] {
        let scores: Vec<f64> = said.iter().map(|said| said.uplift(learner)).collect();
        let order = Order::new(&scores);
        let share = Curve::of_truth(&order, &truth).coefficient() / oracle;
        assert!(share > 0.4, "{learner:?} finds {share} of what the truth would");
        // Members drawn anew: the coefficient is above that of a random order in nearly all draws.
        let times = |draw: u64, member: u32| {
            // Poisson with mean 1, by inversion.
            let u = uniform(draw, &[u64::from(member)]);
            [0.367_879, 0.735_759, 0.919_699, 0.981_012].iter().filter(|below| u > **below).count() as f64
        };
        let above = (0..100).filter(|draw| {
            Curve::new(&order, &outcomes(&trial), |at| times(*draw, trial.member[at])).coefficient() > 0.0
        });
        let above = above.count();
        assert!(above >= 98, "{learner:?}: {above} of 100");
    }
    let cost: f64 = said.iter().map(|said| said.cost).sum::<f64>() / said.len() as f64;
    let paid = Outcomes { outcome: &trial.cost, ..outcomes(&trial) };
    let measured = gain(&vec![true; trial.len()], &paid, |_| 1.0);
    assert!((cost - measured).abs() < 0.05 * measured, "{cost} {measured}");
}

#[test]
fn nobody_is_judged_by_what_was_learned_from_him() {
    let (trial, _) = shop(300, 2, 1.2, 5);
    let params = Trees { rounds: Some(5), ..Trees::default() };
    let before = CrossFitted::fit(&params, &trial, 3, 1).unwrap().predict_all(&trial);
    let mut changed = trial.clone();
    let member = 17;
    for at in (0..trial.len()).filter(|at| trial.member[*at] == member) {
        changed.outcome[at] += 1000.0;
        changed.treated[at] = !trial.treated[at];
    }
    let after = CrossFitted::fit(&params, &changed, 3, 1).unwrap().predict_all(&changed);
    let own = |at: &usize| trial.member[*at] == member;
    assert!((0..trial.len()).filter(own).all(|at| before[at] == after[at]));
    assert!((0..trial.len()).any(|at| before[at] != after[at]));
}

#[test]
fn threads_change_no_bit() {
    let (trial, _) = shop(200, 2, 1.2, 5);
    let params = Trees { rounds: Some(5), ..Trees::default() };
    let fit = |n| threads::allow(n, || CrossFitted::fit(&params, &trial, 3, 1).unwrap().predict_all(&trial));
    assert_eq!(fit(1), fit(3));
}

#[test]
fn trials_that_tell_nothing_are_refused() {
    let (trial, _) = shop(100, 1, 1.2, 5);
    let refused = |trial: &Trial| CrossFitted::fit(&Trees::default(), trial, 3, 1).unwrap_err().to_string();
    assert!(refused(&Trial { treated: vec![true; 100], ..trial.clone() }).contains("are controls"));
    assert!(refused(&Trial { treated: vec![false; 100], ..trial.clone() }).contains("were treated"));
    assert!(refused(&Trial { chance: vec![1.0; 100], ..trial.clone() }).contains("propensity"));
    assert!(refused(&Trial { outcome: vec![f64::NAN; 100], ..trial.clone() }).contains("finite"));
    assert!(refused(&Trial { outcome: Vec::new(), ..trial.clone() }).contains("length"));
    assert!(CrossFitted::fit(&Trees::default(), &trial, 1, 1).is_err());
}
