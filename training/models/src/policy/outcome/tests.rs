use super::*;

/// Numbers from 0 to 1 that a seed gives.
fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut at = mix(seed);
    move || {
        at = at.wrapping_add(1);
        (mix(at) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Made {
    contexts: Vec<f32>,
    actions: Vec<u32>,
    rewards: Vec<f64>,
    members: Vec<u64>,
}

impl Made {
    /// Two numbers a context, of which one is far from 0; three arms, of which the last has few rows and does as all.
    fn new(rows: usize) -> Self {
        let mut number = numbers(3);
        let mut made = Self { contexts: vec![], actions: vec![], rewards: vec![], members: vec![] };
        for at in 0..rows {
            let x = [number() as f32, 1e4 + number() as f32];
            let action = if at % 100 == 99 { 2 } else { (at % 2) as u32 };
            made.contexts.extend(x);
            made.actions.push(action);
            made.rewards.push(truth(&x, action) + 0.2 * (number() - 0.5));
            made.members.push(at as u64 / 3);
        }
        made
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            width: 2,
            contexts: &self.contexts,
            actions: &self.actions,
            rewards: &self.rewards,
            members: &self.members,
            arms: 3,
        }
    }
}

fn truth(x: &[f32], action: u32) -> f64 {
    let slope = [1.0, 3.0, 2.0][action as usize];
    slope * f64::from(x[0]) + 0.5 * (f64::from(x[1]) - 1e4)
}

#[test]
fn what_is_linear_is_found() {
    let made = Made::new(3000);
    let found = estimates(&made.rows(), 5).unwrap();
    let errors = found.chunks(3).zip(made.contexts.chunks(2)).flat_map(|(row, x)| {
        let x = x.to_vec();
        row.iter().enumerate().map(move |(arm, found)| (found - truth(&x, arm as u32)).powi(2))
    });
    let error = (errors.sum::<f64>() / found.len() as f64).sqrt();
    assert!(error < 0.05, "{error}");
}

#[test]
fn a_members_rewards_move_none_of_the_members_own_estimates() {
    let mut made = Made::new(300);
    let before = estimates(&made.rows(), 4).unwrap();
    let (member, rows) = (made.members[30], 30..33);
    rows.clone().for_each(|at| made.rewards[at] += 50.0);
    let after = estimates(&made.rows(), 4).unwrap();
    assert!(rows.clone().all(|at| made.members[at] == member));
    assert_eq!(before[rows.start * 3..rows.end * 3], after[rows.start * 3..rows.end * 3]);
    assert_ne!(before, after);
}

#[test]
fn an_arm_without_rows_is_expected_to_do_as_all_and_one_with_few_nearly() {
    let mut made = Made::new(1000);
    made.contexts.clear();
    let mut number = numbers(8);
    for at in 0..1000 {
        made.rewards[at] = number();
        made.actions[at] = u32::from(at == 500);
    }
    made.rewards[500] = 1.0;
    let rows = Rows { width: 0, ..made.rows() };
    let fitted = Fitted::fit(&rows).unwrap();
    let found = fitted.apply(&[], 1).unwrap();
    let mean = made.rewards.iter().sum::<f64>() / 1000.0;
    assert!((found[2] - mean).abs() < 1e-9, "{found:?} {mean}");
    assert!(found[1] > mean && found[1] < mean + 0.3, "{found:?} {mean}");
}

#[test]
fn the_pooled_solution_has_the_least_error_and_moments_know_it() {
    let made = Made::new(200);
    let rows = made.rows();
    let units = Units::of(2, rows.contexts);
    let mut moments = Moments::none(3);
    (0..200).for_each(|at| moments.take(&units.with_one(rows.context(at)), rows.rewards[at]));
    let by_rows = |weights: &[f64]| -> f64 {
        let error = |at: usize| rows.rewards[at] - dot(weights, &units.with_one(rows.context(at)));
        (0..200).map(|at| error(at).powi(2)).sum()
    };
    let loss = |weights: &[f64]| by_rows(weights) + 7.0 * dot(&weights[1..], &weights[1..]);
    let found = moments.solve(&[0.0; 3], 7.0, true);
    assert!((moments.error(&found) / by_rows(&found) - 1.0).abs() < 1e-9);
    for at in 0..3 {
        for step in [-1e-3, 1e-3] {
            let mut other = found.clone();
            other[at] += step;
            assert!(loss(&other) > loss(&found), "{at} {step}");
        }
    }
}

#[test]
fn what_cannot_be_fitted_is_said() {
    let made = Made::new(30);
    let says = |rows: Rows<'_>, folds| format!("{:#}", estimates(&rows, folds).unwrap_err());
    assert!(says(made.rows(), 1).contains("two or more"));
    assert!(says(Rows { members: &[7; 30], ..made.rows() }, 3).contains("one of 3 folds"));
    assert!(says(Rows { arms: 1, ..made.rows() }, 3).contains("row 2: action 1 of 1 arms"));
    assert!(says(Rows { rewards: &[f64::NAN; 30], ..made.rows() }, 3).contains("row 1: reward NaN"));
    assert!(says(Rows { contexts: &[f32::NAN; 60], ..made.rows() }, 3).contains("number 1 of the context"));
    assert!(says(Rows { width: 3, ..made.rows() }, 3).contains("contexts of 3"));
    let fitted = Fitted::fit(&made.rows()).unwrap();
    assert!(fitted.apply(&[1.0], 1).is_err());
    let nobody = Rows { width: 0, contexts: &[], actions: &[], rewards: &[], members: &[], arms: 2 };
    assert!(Fitted::fit(&nobody).is_err());
}
