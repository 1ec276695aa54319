use super::*;
use crate::mix;

/// Numbers from 0 to 1 that a seed gives.
fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut at = mix(seed);
    move || {
        at = at.wrapping_add(1);
        (mix(at) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A log of which the truth is known: two contexts, three arms, rewards of 0 or 1.
struct Made {
    actions: Vec<u32>,
    rewards: Vec<f64>,
    propensities: Vec<f64>,
    members: Vec<u64>,
    probabilities: Vec<f64>,
    estimates: Vec<f64>,
}

const CHANCES: [[f64; 3]; 2] = [[0.2, 0.5, 0.4], [0.6, 0.1, 0.3]];
const LOGGED: [[f64; 3]; 2] = [[0.5, 0.3, 0.2], [0.2, 0.35, 0.45]];
const WANTED: [[f64; 3]; 2] = [[0.1, 0.7, 0.2], [0.6, 0.2, 0.2]];

/// What the policy earns, both contexts being as frequent.
const TRUTH: f64 = 0.45 / 2.0 + 0.44 / 2.0;

impl Made {
    fn new(rows: usize, seed: u64) -> Self {
        let mut number = numbers(seed);
        let empty = Vec::new;
        let mut made = Self {
            actions: vec![],
            rewards: empty(),
            propensities: empty(),
            members: (0..rows as u64).collect(),
            probabilities: empty(),
            estimates: empty(),
        };
        for _ in 0..rows {
            let context = usize::from(number() < 0.5);
            let (logged, draw) = (LOGGED[context], number());
            let action = usize::from(draw >= logged[0]) + usize::from(draw >= logged[0] + logged[1]);
            made.actions.push(action as u32);
            made.rewards.push(f64::from(u8::from(number() < CHANCES[context][action])));
            made.propensities.push(logged[action]);
            made.probabilities.extend(WANTED[context]);
            // An outcome model that knows something, and is wrong.
            made.estimates.extend(CHANCES[context].map(|chance| 0.6 * chance + 0.3));
        }
        made
    }

    fn logged(&self) -> Logged<'_> {
        Logged {
            actions: &self.actions,
            rewards: &self.rewards,
            propensities: &self.propensities,
            members: &self.members,
        }
    }

    fn target(&self) -> Target<'_> {
        Target { arms: 3, probabilities: &self.probabilities, estimates: &self.estimates }
    }

    fn evaluate(&self) -> Evaluation {
        evaluate(&self.logged(), &self.target(), &Options::default()).unwrap()
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[derive(Deserialize)]
struct Case {
    name: String,
    arms: usize,
    tau: f64,
    lambda: f64,
    rows: Vec<CaseRow>,
    expected: Expected,
}

#[derive(Deserialize)]
struct CaseRow {
    action: u32,
    reward: f64,
    logged: Vec<f64>,
    wanted: Vec<f64>,
    estimates: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expected {
    ips: f64,
    snips: f64,
    dm: f64,
    dr: f64,
    sndr: f64,
    switch_dr: f64,
    clipped_ips: f64,
    clipped_dr: f64,
}

/// Whole numbers as probabilities, as `ope.py` does it.
fn shares(counts: &[f64]) -> Vec<f64> {
    let sum: f64 = counts.iter().sum();
    counts.iter().map(|count| count / sum).collect()
}

#[test]
fn the_open_bandit_pipeline_says_the_same() {
    let text = include_str!("../../../../../tests/conformance/ope.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 3);
    for Case { name, arms, tau, lambda, rows, expected } in cases {
        let all = |of: &dyn Fn(&CaseRow) -> Vec<f64>| rows.iter().flat_map(of).collect::<Vec<f64>>();
        let logged = Logged {
            actions: &rows.iter().map(|row| row.action).collect::<Vec<_>>(),
            rewards: &all(&|row| vec![row.reward]),
            propensities: &all(&|row| vec![shares(&row.logged)[row.action as usize]]),
            members: &(0..rows.len() as u64).collect::<Vec<_>>(),
        };
        let (probabilities, estimates) = (all(&|row| shares(&row.wanted)), all(&|row| row.estimates.clone()));
        let target = Target { arms, probabilities: &probabilities, estimates: &estimates };
        let options = Options { switch: Some(tau), clip: Some(lambda), rounds: 10, ..Options::default() };
        let found = evaluate(&logged, &target, &options).unwrap();
        let modelled = found.modelled.unwrap();
        let pairs = [
            ("ips", found.ips, expected.ips),
            ("snips", found.snips, expected.snips),
            ("dm", modelled.direct, expected.dm),
            ("dr", modelled.doubly_robust, expected.dr),
            ("sndr", modelled.self_normalised, expected.sndr),
            ("switch", modelled.switch, expected.switch_dr),
            ("clipped ips", found.clipped_ips, expected.clipped_ips),
            ("clipped dr", modelled.clipped, expected.clipped_dr),
        ];
        for (estimator, ours, theirs) in pairs {
            assert!(near(ours.value, theirs), "{name}, {estimator}: {} against {theirs}", ours.value);
        }
        // A case in which nothing is clipped or switched would say nothing of either.
        assert!(
            !near(expected.clipped_ips, expected.ips) && !near(expected.switch_dr, expected.dr),
            "{name}"
        );
    }
}

#[test]
fn a_uniform_policy_on_its_own_log_earns_what_was_earned() {
    let mut made = Made::new(500, 1);
    made.propensities.fill(1.0 / 3.0);
    made.probabilities.fill(1.0 / 3.0);
    made.estimates.fill(0.25);
    let found = made.evaluate();
    let mean = made.rewards.iter().sum::<f64>() / 500.0;
    let modelled = found.modelled.clone().unwrap();
    for estimate in [
        found.incumbent,
        found.ips,
        found.snips,
        found.clipped_ips,
        modelled.doubly_robust,
        modelled.self_normalised,
        modelled.switch,
        modelled.clipped,
    ] {
        assert!(near(estimate.value, mean), "{estimate:?} {mean}");
        assert!(near(estimate.bootstrap.low, found.incumbent.bootstrap.low), "{estimate:?}");
    }
    assert_eq!(modelled.direct.value, 0.25);
    assert!(near(found.lift.value, 0.0) && near(found.lift.bootstrap.low, 0.0));
    assert!(near(found.weights.effective_rows, 500.0) && near(found.weights.largest, 1.0));
    assert!(near(found.weights.mean.value, 1.0) && near(found.weights.unseen, 0.0));
}

#[test]
fn a_perfect_outcome_model_leaves_nothing_to_correct() {
    let mut made = Made::new(400, 2);
    for (at, action) in made.actions.iter().enumerate() {
        made.rewards[at] = made.estimates[at * 3 + *action as usize];
    }
    let modelled = made.evaluate().modelled.unwrap();
    let direct = modelled.direct.value;
    assert!(near(modelled.doubly_robust.value, direct) && near(modelled.clipped.value, direct));
}

/// In how many of 200 logs the truth is in an interval.
fn coverage(interval: impl Fn(&Evaluation) -> Interval) -> f64 {
    let options = Options { rounds: 300, ..Options::default() };
    let holds = |seed: &u64| {
        let made = Made::new(400, 1000 + seed);
        let found = evaluate(&made.logged(), &made.target(), &options).unwrap();
        let Interval { low, high } = interval(&found);
        (low..=high).contains(&TRUTH)
    };
    (0..200_u64).filter(holds).count() as f64 / 200.0
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    // 95 % of 200 are 190 ± 3: these bounds are three standard errors away.
    let right = 0.9..=0.99;
    let doubly_robust = coverage(|found| found.judged().bootstrap);
    let self_normalised = coverage(|found| found.snips.bootstrap);
    let weights = coverage(|found| {
        let Interval { low, high } = found.weights.mean.bootstrap;
        Interval { low: low - 1.0 + TRUTH, high: high - 1.0 + TRUTH }
    });
    for share in [doubly_robust, self_normalised, weights] {
        assert!(right.contains(&share), "{doubly_robust} {self_normalised} {weights}");
    }
    let bernstein = coverage(|found| found.judged().bernstein);
    assert!(bernstein >= 0.95, "{bernstein}");
}

#[test]
fn rows_that_a_member_repeats_say_nothing_new() {
    let once = Made::new(300, 5);
    let twice =
        |of: &[f64], width: usize| of.chunks(width).flat_map(|row| [row, row].concat()).collect::<Vec<f64>>();
    let made = Made {
        actions: once.actions.iter().flat_map(|action| [*action; 2]).collect(),
        rewards: twice(&once.rewards, 1),
        propensities: twice(&once.propensities, 1),
        members: once.members.iter().flat_map(|member| [*member; 2]).collect(),
        probabilities: twice(&once.probabilities, 3),
        estimates: twice(&once.estimates, 3),
    };
    let (once, both) = (once.evaluate(), made.evaluate());
    for (a, b) in [(once.judged(), both.judged()), (&once.snips, &both.snips), (&once.lift, &both.lift)] {
        assert!(near(a.bootstrap.low, b.bootstrap.low) && near(a.bootstrap.high, b.bootstrap.high));
        assert!(near(a.bernstein.low, b.bernstein.low), "{a:?} {b:?}");
    }
    // Taken for independent they would say more than they do.
    let rows = Made { members: (0..600).collect(), ..made }.evaluate();
    let width = |found: &Evaluation| found.judged().bootstrap.high - found.judged().bootstrap.low;
    assert!(width(&rows) < 0.8 * width(&both));
}

#[test]
fn the_bernstein_bound_is_the_papers() {
    // The mean of 0, 0, 1, 1 of rewards from 0 to 2: V = 1/3, R = 2, m = 4, δ = 0.05.
    let logged = Logged {
        actions: &[0; 4],
        rewards: &[0.0, 0.0, 1.0, 1.0],
        propensities: &[1.0; 4],
        members: &[1, 2, 3, 4],
    };
    let options = Options { rewards: Some([0.0, 2.0]), ..Options::default() };
    let found = evaluate_chances(&logged, &[1.0; 4], &options).unwrap();
    let log = 80.0_f64.ln();
    let half = (2.0 * log / 3.0 / 4.0).sqrt() + 7.0 * 2.0 * log / 9.0;
    for estimate in [found.incumbent, found.ips, found.snips] {
        assert_eq!(estimate.range, 2.0);
        assert!(near(estimate.bernstein.low, 0.5 - half) && near(estimate.bernstein.high, 0.5 + half));
    }
}

#[test]
fn seeds_decide_and_the_order_of_rows_does_not() {
    let made = Made::new(200, 6);
    assert_eq!(made.evaluate(), made.evaluate());
    let other = Options { seed: 2, ..Options::default() };
    let other = evaluate(&made.logged(), &made.target(), &other).unwrap();
    assert_ne!(made.evaluate().ips.bootstrap, other.ips.bootstrap);
    let backwards = |of: &[f64], width: usize| of.rchunks(width).flatten().copied().collect::<Vec<f64>>();
    let turned = Made {
        actions: made.actions.iter().rev().copied().collect(),
        rewards: backwards(&made.rewards, 1),
        propensities: backwards(&made.propensities, 1),
        members: made.members.iter().rev().copied().collect(),
        probabilities: backwards(&made.probabilities, 3),
        estimates: backwards(&made.estimates, 3),
    };
    let (a, b) = (made.evaluate(), turned.evaluate());
    assert!(near(a.judged().bootstrap.low, b.judged().bootstrap.low));
}

#[test]
fn a_log_proves_what_is_better_and_refuses_the_rest() {
    let gate = Gate::default();
    let good = Made::new(5000, 7).evaluate();
    assert_eq!(good.proven(&gate), Ok(()));
    let why = |found: &Evaluation, gate: &Gate| format!("{:?}", found.proven(gate).unwrap_err());
    let same = {
        let mut made = Made::new(5000, 7);
        made.probabilities = made.estimates.clone();
        for (chances, at) in made.probabilities.chunks_mut(3).zip(0..) {
            let logged =
                LOGGED.iter().find(|l| l[made.actions[at] as usize] == made.propensities[at]).unwrap();
            chances.copy_from_slice(logged);
        }
        made.evaluate()
    };
    assert!(why(&same, &gate).contains("NotAbove"), "{}", why(&same, &gate));
    assert!(why(&same, &gate).contains("MayBeNone"));
    let few = Made::new(60, 7).evaluate();
    assert!(why(&few, &gate).contains("FewRows"), "{}", why(&few, &gate));
    let strict = Gate { least_share: 0.99, ..gate };
    assert!(why(&good, &strict).contains("FewRows"));
    // A log that never tried the second arm, and says that it took the others as usual.
    let blind = {
        let mut made = Made::new(5000, 8);
        for at in (0..5000).filter(|at| made.actions[*at] == 1).collect::<Vec<_>>() {
            made.actions[at] = 0;
            made.propensities[at] = 0.9;
        }
        made.evaluate()
    };
    let said = why(&blind, &gate);
    assert!(said.contains("WeightsOff") && said.contains("Unseen"), "{said}");
    let bernstein = Gate { interval: Kind::Bernstein, ..gate };
    assert!(why(&Made::new(400, 7).evaluate(), &bernstein).contains("NotAbove"));
    for refusal in blind.proven(&gate).unwrap_err().into_iter().chain(few.proven(&gate).unwrap_err()) {
        let words = refusal.to_string();
        assert!(["log more", "explore", "check"].iter().any(|advice| words.contains(advice)), "{words}");
    }
}

#[test]
fn an_evaluation_survives_json() {
    let found = Made::new(80, 9).evaluate();
    let text = serde_json::to_string(&found).unwrap();
    assert!(text.contains("\"doublyRobust\"") && text.contains("\"effectiveRows\""));
    // Numbers are read to their last digit but one.
    let read: Evaluation = serde_json::from_str(&text).unwrap();
    assert_eq!((read.rows, read.members, read.weights.bound), (80, 80, found.weights.bound));
    assert!(near(read.judged().bootstrap.low, found.judged().bootstrap.low));
    let refusals = found.proven(&Gate::default()).unwrap_err();
    let text = serde_json::to_string(&refusals).unwrap();
    assert!(text.contains("\"why\":\"fewRows\""), "{text}");
    assert_eq!(serde_json::from_str::<Vec<Refusal>>(&text).unwrap().len(), refusals.len());
}

#[test]
fn a_policy_that_the_log_never_followed_has_no_rows_and_no_value() {
    let mut made = Made::new(100, 10);
    for (chances, action) in made.probabilities.chunks_mut(3).zip(&made.actions) {
        chances.fill(0.0);
        chances[(*action as usize + 1) % 3] = 1.0;
    }
    let found = made.evaluate();
    assert_eq!([found.ips.value, found.snips.value, found.weights.effective_rows], [0.0; 3]);
    assert_eq!(found.weights.unseen, 1.0);
    assert!(found.proven(&Gate::default()).unwrap_err().len() >= 3);
}

#[test]
fn bad_input_is_refused_with_its_row() {
    let made = Made::new(20, 11);
    let says = |logged: Logged<'_>| {
        format!("{:#}", evaluate(&logged, &made.target(), &Options::default()).unwrap_err())
    };
    let with = |of: &[f64], at: usize, number: f64| {
        let mut of = of.to_vec();
        of[at] = number;
        of
    };
    let logged = made.logged();
    let nan = with(&made.rewards, 4, f64::NAN);
    assert!(says(Logged { rewards: &nan, ..logged }).contains("row 5: reward NaN"));
    for wrong in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
        let wrong = with(&made.propensities, 6, wrong);
        assert!(says(Logged { propensities: &wrong, ..logged }).contains("row 7: propensity"));
    }
    assert!(says(Logged { rewards: &[f64::MAX; 20], ..logged }).contains("beyond all numbers"));
    assert!(says(Logged { actions: &[3; 20], ..logged }).contains("row 1: action 3 of 3 arms"));
    assert!(says(Logged { members: &[3; 20], ..logged }).contains("two or more"));
    assert!(says(Logged { members: &[3; 19], ..logged }).contains("19 members"));
    let target = |probabilities: &[f64], estimates: &[f64]| {
        let target = Target { arms: 3, probabilities, estimates };
        format!("{:#}", evaluate(&logged, &target, &Options::default()).unwrap_err())
    };
    assert!(target(&[0.3; 60], &made.estimates).contains("row 1: the policy's probabilities sum to 0.8"));
    assert!(target(&made.probabilities, &with(&made.estimates, 3, f64::NAN)).contains("estimate NaN"));
    assert!(target(&made.probabilities[3..], &made.estimates).contains("57 probabilities"));
    let options =
        |options: Options| format!("{:#}", evaluate_chances(&logged, &[0.5; 20], &options).unwrap_err());
    assert!(options(Options { rounds: 0, ..Options::default() }).contains("1000 is usual"));
    assert!(options(Options { level: 1.0, ..Options::default() }).contains("between 0 and 1"));
    assert!(options(Options { clip: Some(f64::NAN), ..Options::default() }).contains("clip NaN"));
    assert!(evaluate_chances(&logged, &[1.5; 20], &Options::default()).is_err());
}
