//! Rules as an analyst writes them: thresholds on inputs, joined by "and"; a row is alerted where any rule holds.
//!
//! So that rules can be held against models at any number of alerts, thresholds are loosened or tightened together. Of a condition let
//! t(x) be −ln of the share of training rows that are at least as far out as x. A condition's strength in a row is t(x) / t(value), a rule's the
//! least of its conditions', and a row's score the greatest of its rules': 1 or more exactly where a rule holds as it is written.
//!
//! [`best_single`] and [`best_pair`] are what somebody would write who has the training rows and looks for the one or two thresholds
//! that find most frauds within a number of alerts. Thresholds tried are values that frauds have: none between two of them finds more. A pair
//! tries at most 32 of each input and side, spread evenly over the frauds.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::{Inputs, Labelled};
use crate::threads;

/// Which side of a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The value or more.
    #[serde(rename = ">=")]
    AtLeast,
    /// The value or less.
    #[serde(rename = "<=")]
    AtMost,
}

/// An input on one side of a value; one that is missing is on neither.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Which input.
    pub input: usize,
    /// The side.
    pub side: Side,
    /// The value, finite.
    pub value: f32,
}

impl Condition {
    /// The input so that larger is farther out.
    fn out(self, x: f32) -> f32 {
        if self.side == Side::AtLeast { x } else { -x }
    }

    fn holds(self, row: &[f32]) -> bool {
        // NaN is neither more nor less.
        self.out(row[self.input]) >= self.out(self.value)
    }
}

/// Conditions that hold together.
pub type Rule = Vec<Condition>;

/// Rules that score rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// One of them must hold.
    pub rules: Vec<Rule>,
    /// Of each rule and condition the training rows' values, farther out is later.
    sorted: Vec<Vec<Vec<f32>>>,
}

impl Rules {
    /// Rules whose thresholds move as these rows are distributed.
    ///
    /// # Errors
    /// When there is no rule, a rule has no condition, or a condition names an input that is not there or a value that is not finite.
    pub fn new(rules: Vec<Rule>, inputs: &Inputs) -> anyhow::Result<Self> {
        ensure!(!rules.is_empty() && rules.iter().all(|rule| !rule.is_empty()), "a rule has a condition");
        for condition in rules.iter().flatten() {
            ensure!(
                condition.input < inputs.width() && condition.value.is_finite(),
                "a rule's condition names input {} and value {}; there are {} inputs, and values are finite",
                condition.input,
                condition.value,
                inputs.width()
            );
        }
        let values = |condition: &Condition| {
            let known = inputs.column(condition.input).filter(|x| !x.is_nan());
            let mut values: Vec<f32> = known.map(|x| condition.out(x)).collect();
            values.sort_unstable_by(f32::total_cmp);
            values
        };
        let sorted = rules.iter().map(|rule| rule.iter().map(values).collect()).collect();
        Ok(Self { rules, sorted })
    }

    /// Each row's score: 1 or more where a rule holds, 0 where every rule lacks an input.
    pub fn scores(&self, inputs: &Inputs) -> Vec<f64> {
        (0..inputs.len()).map(|at| self.score(inputs.row(at))).collect()
    }

    fn score(&self, row: &[f32]) -> f64 {
        let rule = |(rule, sorted): (&Rule, &Vec<Vec<f32>>)| {
            rule.iter()
                .zip(sorted)
                .map(|(condition, sorted)| strength(*condition, sorted, row))
                .fold(f64::INFINITY, f64::min)
        };
        self.rules.iter().zip(&self.sorted).map(rule).fold(0.0, f64::max)
    }
}

/// t(x) / t(value), held on the side of 1 that the condition says.
fn strength(condition: Condition, sorted: &[f32], row: &[f32]) -> f64 {
    let x = row[condition.input];
    if x.is_nan() {
        return 0.0;
    }
    let far = |x: f32| {
        let at_least = sorted.len() - sorted.partition_point(|other| *other < condition.out(x));
        -((at_least + 1) as f64 / (sorted.len() + 1) as f64).ln()
    };
    let strength = far(x) / far(condition.value).max(f64::MIN_POSITIVE);
    // Where no training row lies between a row and the value, both are as far out.
    if condition.holds(row) { strength.max(1.0) } else { strength.min(1.0_f64.next_down()) }
}

/// A rule and what it finds among the rows that it was made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The rule.
    pub rule: Rule,
    /// Rows for which it holds.
    pub alerts: usize,
    /// Frauds among them.
    pub found: usize,
}

impl Made {
    /// More frauds, or as many with fewer alerts.
    fn is_better(&self, other: Option<&Self>) -> bool {
        other.is_none_or(|other| {
            self.found > other.found || self.found == other.found && self.alerts < other.alerts
        })
    }
}

/// The first of the best.
fn best(made: impl IntoIterator<Item = Made>) -> Option<Made> {
    made.into_iter().fold(None, |best, made| if made.is_better(best.as_ref()) { Some(made) } else { best })
}

/// Thresholds of an input and side that a pair tries.
const TRIED: usize = 32;

/// The threshold that finds most frauds with at most so many alerts; none where each has more.
///
/// # Errors
/// When rows and labels differ in number, or all rows are of one kind.
pub fn best_single(rows: &Labelled<'_>, alerts: usize) -> anyhow::Result<Option<Made>> {
    rows.check()?;
    let made = threads::map(sides(rows.inputs), |(input, side)| {
        let made = |value: f32| {
            let condition = Condition { input, side, value };
            let holds = (0..rows.inputs.len()).filter(|at| condition.holds(rows.inputs.row(*at)));
            let (mut alerts, mut found) = (0, 0);
            holds.for_each(|at| {
                alerts += 1;
                found += usize::from(rows.fraud[at]);
            });
            Made { rule: vec![condition], alerts, found }
        };
        // The less far out a value, the more alerts: the least far out that still keeps to the number finds most.
        let values = frauds_values(rows, input, side);
        let within = values.partition_point(|value| made(*value).alerts > alerts);
        values.get(within).map(|value| made(*value))
    });
    Ok(best(made.into_iter().flatten()))
}

/// The two thresholds that find most frauds together with at most so many alerts; none where each pair has more.
///
/// # Errors
/// As [`best_single`].
pub fn best_pair(rows: &Labelled<'_>, alerts: usize) -> anyhow::Result<Option<Made>> {
    rows.check()?;
    let levels: Vec<Levels> = threads::map(sides(rows.inputs), |(input, side)| Levels::of(rows, input, side));
    let pairs = (0..levels.len()).flat_map(|a| (a + 1..levels.len()).map(move |b| (a, b)));
    let pairs: Vec<_> = pairs.filter(|(a, b)| levels[*a].input != levels[*b].input).collect();
    let made = threads::map(pairs, |(a, b)| pair(&levels[a], &levels[b], rows.fraud, alerts));
    Ok(best(made.into_iter().flatten()))
}

/// All inputs, each with both sides.
fn sides(inputs: &Inputs) -> Vec<(usize, Side)> {
    (0..inputs.width()).flat_map(|input| [(input, Side::AtLeast), (input, Side::AtMost)]).collect()
}

/// The values that frauds have, each once, the least far out first.
fn frauds_values(rows: &Labelled<'_>, input: usize, side: Side) -> Vec<f32> {
    let of = Condition { input, side, value: 0.0 };
    let frauds = rows.inputs.column(input).zip(rows.fraud).filter(|(x, fraud)| **fraud && !x.is_nan());
    let mut values: Vec<f32> = frauds.map(|(x, _)| x).collect();
    values.sort_unstable_by(|a, b| of.out(*a).total_cmp(&of.out(*b)));
    values.dedup();
    values
}

/// Rows by how many of an input's thresholds they pass.
struct Levels {
    input: usize,
    side: Side,
    /// The thresholds, the least far out first.
    values: Vec<f32>,
    /// How many of them each row passes.
    passed: Vec<u8>,
}

impl Levels {
    fn of(rows: &Labelled<'_>, input: usize, side: Side) -> Self {
        let all = frauds_values(rows, input, side);
        let tried = all.len().min(TRIED);
        let values: Vec<f32> = (0..tried).map(|at| all[at * all.len() / tried]).collect();
        let of = Condition { input, side, value: 0.0 };
        let passed = |x: f32| match x.is_nan() {
            true => 0,
            false => values.partition_point(|value| of.out(*value) <= of.out(x)) as u8,
        };
        let passed = rows.inputs.column(input).map(passed).collect();
        Self { input, side, values, passed }
    }

    fn condition(&self, level: usize) -> Condition {
        Condition { input: self.input, side: self.side, value: self.values[level - 1] }
    }
}

/// The best thresholds of two inputs: rows are counted by how many they pass of each, and then summed from far out.
fn pair(a: &Levels, b: &Levels, fraud: &[bool], alerts: usize) -> Option<Made> {
    let width = b.values.len() + 1;
    let mut counts = vec![[0_usize; 2]; (a.values.len() + 1) * width];
    for ((a, b), fraud) in a.passed.iter().zip(&b.passed).zip(fraud) {
        let count = &mut counts[usize::from(*a) * width + usize::from(*b)];
        count[0] += 1;
        count[1] += usize::from(*fraud);
    }
    for from_far in (0..counts.len()).rev() {
        let (row, column) = (from_far / width, from_far % width);
        let further = |row: usize, column: usize| {
            if row > a.values.len() || column > b.values.len() {
                [0; 2]
            } else {
                counts[row * width + column]
            }
        };
        let (down, right, both) =
            (further(row + 1, column), further(row, column + 1), further(row + 1, column + 1));
        (0..2).for_each(|of| counts[from_far][of] += down[of] + right[of] - both[of]);
    }
    let mut most: Option<(usize, [usize; 2])> = None;
    for (at, count) in counts.iter().enumerate().filter(|(at, _)| at / width > 0 && at % width > 0) {
        let better =
            most.is_none_or(|(_, [held, found])| count[1] > found || count[1] == found && count[0] < held);
        if count[0] <= alerts && count[1] > 0 && better {
            most = Some((at, *count));
        }
    }
    most.map(|(at, [alerts, found])| Made {
        rule: vec![a.condition(at / width), b.condition(at % width)],
        alerts,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::tests::uniform;

    fn condition(input: usize, side: Side, value: f32) -> Condition {
        Condition { input, side, value }
    }

    #[test]
    fn a_score_is_one_or_more_exactly_where_a_rule_holds() {
        let values = (0..600_u64).map(|at| (uniform(at) * 20.0).round() as f32 - 10.0);
        let inputs = Inputs::new(2, values.collect()).unwrap();
        let rules = vec![
            vec![condition(0, Side::AtLeast, 6.5), condition(1, Side::AtMost, -3.0)],
            vec![condition(1, Side::AtLeast, 9.0)],
        ];
        let scores = Rules::new(rules.clone(), &inputs).unwrap().scores(&inputs);
        for (at, score) in scores.iter().enumerate() {
            let holds = rules.iter().any(|rule| rule.iter().all(|condition| condition.holds(inputs.row(at))));
            assert_eq!(holds, *score >= 1.0, "{at}: {score}");
        }
        assert!(scores.iter().any(|score| *score >= 1.0) && scores.iter().any(|score| *score < 1.0));
    }

    #[test]
    fn loosened_thresholds_take_the_nearest_rows_first() {
        let inputs = Inputs::new(1, (0..100_u8).map(f32::from).collect()).unwrap();
        let rules = Rules::new(vec![vec![condition(0, Side::AtLeast, 90.0)]], &inputs).unwrap();
        let scores = rules.scores(&inputs);
        assert!(scores.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(scores[89] < 1.0 && (scores[90] - 1.0).abs() < 1e-12);
        let lacking = Inputs::new(1, vec![f32::NAN]).unwrap();
        assert_eq!(rules.scores(&lacking), [0.0]);
    }

    /// Frauds are where the first input is high and the second low; either alone holds many others.
    fn cornered() -> (Inputs, Vec<bool>) {
        let (mut values, mut fraud) = (Vec::new(), Vec::new());
        for at in 0..2000_u64 {
            let [a, b, c] = [0, 1, 2].map(|which| uniform(at * 3 + which) as f32);
            values.extend([a, b, c]);
            fraud.push(a > 0.9 && b < 0.1);
        }
        (Inputs::new(3, values).unwrap(), fraud)
    }

    #[test]
    fn two_thresholds_find_a_corner_that_one_cannot() {
        let (inputs, fraud) = cornered();
        let rows = Labelled { inputs: &inputs, fraud: &fraud };
        let frauds = rows.frauds();
        let pair = best_pair(&rows, 2 * frauds).unwrap().unwrap();
        assert_eq!((pair.found, pair.alerts), (frauds, frauds), "{pair:?}");
        assert_eq!([pair.rule[0].input, pair.rule[1].input], [0, 1]);
        assert_eq!([pair.rule[0].side, pair.rule[1].side], [Side::AtLeast, Side::AtMost]);
        let single = best_single(&rows, 2 * frauds).unwrap().unwrap();
        assert!(single.found < frauds && single.alerts <= 2 * frauds, "{single:?}");
    }

    #[test]
    fn the_best_threshold_is_that_of_trying_all() {
        let (inputs, fraud) = cornered();
        let rows = Labelled { inputs: &inputs, fraud: &fraud };
        for alerts in [1, 10, 50, 300] {
            let found = best_single(&rows, alerts).unwrap().map_or(0, |made| made.found);
            let mut most = 0;
            for (input, side) in sides(&inputs) {
                for value in inputs.column(input) {
                    let holds = |at: &usize| condition(input, side, value).holds(inputs.row(*at));
                    let held: Vec<usize> = (0..inputs.len()).filter(holds).collect();
                    if held.len() <= alerts {
                        most = most.max(held.iter().filter(|at| fraud[**at]).count());
                    }
                }
            }
            assert_eq!(found, most, "{alerts}");
        }
    }

    #[test]
    fn what_cannot_be_a_rule_is_refused() {
        let (inputs, fraud) = cornered();
        let refused = |rules| Rules::new(rules, &inputs).is_err();
        assert!(refused(Vec::new()) && refused(vec![Vec::new()]));
        assert!(refused(vec![vec![condition(3, Side::AtMost, 0.0)]]));
        assert!(refused(vec![vec![condition(0, Side::AtMost, f32::NAN)]]));
        assert!(best_pair(&Labelled { inputs: &inputs, fraud: &fraud[1..] }, 9).is_err());
        assert!(best_pair(&Labelled { inputs: &inputs, fraud: &vec![false; 2000] }, 9).is_err());
        assert_eq!(best_single(&Labelled { inputs: &inputs, fraud: &fraud }, 0).unwrap(), None);
    }
}
