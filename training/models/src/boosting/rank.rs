//! Trees that rank: regression on the normal score (van der Waerden 1952) of a row's next spend among all rows', graded
//! into tiers by a cumulative link that is fitted to rows which the trees have not seen.

use super::{ASIDE, Goal, Params, ROUNDS, best, boost};
use crate::{
    Fitted, Graded, Model, Rows,
    convex::{self, Objective},
    mix,
};

/// A row's second derivative is 1, four times the most that a softmax's can be; what a leaf must hold counts likewise.
const HEAVIER: f64 = 4.0;

/// Finds the number of rounds on members set aside and the link's numbers there, then trains trees on all rows.
pub(crate) fn fit(params: &Params, tiers: usize, rows: &Rows, seed: u64) -> Fitted {
    let params = Params { weight: HEAVIER * params.weight, l2: HEAVIER * params.l2, ..*params };
    let mut sorted = rows.target_spend.clone();
    sorted.sort_unstable();
    let (aside, inner) = rows.part(ASIDE, seed);
    let [all, learned, judged] = [rows, &inner, &aside].map(|rows| scores(&rows.target_spend, &sorted));
    let goal = Goal::Numbers(&learned);
    let most = params.rounds.unwrap_or(ROUNDS);
    let (mut forest, curve) =
        boost(&params, most, &goal, &inner, seed, Some((&aside, Goal::Numbers(&judged))));
    let rounds = params.rounds.unwrap_or_else(|| best(&curve));
    forest.trees.truncate(rounds as usize);
    let seen = Rows { width: 1, inputs: forest.scores(&aside.plain), ..aside };
    let head = convex::solve(Objective::ProportionalOdds, tiers, &seen, mix(seed)).network;
    let (forest, _) = boost(&params, rounds, &Goal::Numbers(&all), rows, seed, None);
    Fitted { model: Model::Graded(Graded { forest, head }), curve, l2: None }
}

/// The normal quantile of each spend's place among all, ties in the middle of theirs. Places themselves are as far apart at
/// the top as elsewhere, and of the highest tier their mean would never speak.
fn scores(spend: &[i64], sorted: &[i64]) -> Vec<f32> {
    let score = |spend: &i64| {
        let (from, to) = (sorted.partition_point(|x| x < spend), sorted.partition_point(|x| x <= spend));
        normal_quantile((from + to) as f64 / (2 * sorted.len().max(1)) as f64) as f32
    };
    spend.iter().map(score).collect()
}

/// Where the standard normal distribution reaches a share between 0 and 1; within 4.5e-4 (Hastings 1955; Abramowitz & Stegun
/// 26.2.23), which moves no order.
fn normal_quantile(share: f64) -> f64 {
    let t = (-2.0 * share.min(1.0 - share).ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - above / below).copysign(share - 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boosting::tests::number;

    #[test]
    fn ties_share_the_normal_score_of_their_middle() {
        let spend: Vec<i64> = vec![0, 0, 0, 5, 9, 7];
        let scores = scores(&spend, &[0, 0, 0, 5, 7, 9]);
        // scipy 1.17.1: norm.ppf([3/12, 7/12, 11/12, 9/12])
        for (found, score) in
            scores.iter().zip([-0.674490, -0.674490, -0.674490, 0.210428, 1.382994, 0.674490])
        {
            assert!((found - score).abs() < 5e-4, "{scores:?}");
        }
        for (share, score) in [(1e-6, -4.753424), (0.01, -2.326348), (0.3, -0.524401), (0.999, 3.090232)] {
            assert!((normal_quantile(share) - score).abs() < 5e-4, "{share}");
        }
    }

    #[test]
    fn chances_are_those_that_the_spend_has() {
        // Four times one input and a logistic error, cut at ½, 2 and 3½, is what a cumulative link says.
        let mut rows = Rows { plain_width: 2, ..Rows::default() };
        for at in 0..6000_u64 {
            let [x, noise, luck] = [0, 1, 2].map(|i| number(at * 3 + i));
            let level = 4.0 * x + (luck / (1.0 - luck)).ln();
            rows.plain.extend([x as f32, noise as f32]);
            rows.target_spend.push((level * 1000.0) as i64);
            rows.targets.push([0.5, 2.0, 3.5].iter().filter(|cut| level >= **cut).count() as u8 + 1);
            rows.current_spend.push(0);
            rows.member.push(at as u32);
        }
        let Model::Graded(model) = fit(&Params::default(), 4, &rows, 1).model else { panic!("not trees") };
        for x in [0.25, 0.5, 0.75] {
            let beyond = |cut: f64| 1.0 / (1.0 + (cut - 4.0 * x).exp());
            let beyond = [1.0, beyond(0.5), beyond(2.0), beyond(3.5), 0.0];
            let p = model.probabilities(&[x as f32, 0.5]);
            for (p, pair) in p.iter().zip(beyond.windows(2)) {
                assert!((f64::from(*p) - (pair[0] - pair[1])).abs() < 0.05, "{x}: {p} {pair:?}");
            }
        }
        assert!(model.forest.trees.len() > 20, "{}", model.forest.trees.len());
    }
}
