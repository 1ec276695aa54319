//! Which inputs raised a row's score: what it loses when an input becomes typical, the median of the rows that were learned from
//! (occlusion; Robnik-Šikonja & Kononenko 2008), as core's `explain` does it.
//!
//! Effects of inputs that act together do not add up to the whole, and an effect is about the model, not about causes.

use serde::{Deserialize, Serialize};

use super::Inputs;

/// An input's part in a score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Which input.
    pub input: usize,
    /// The row's value; NaN, which JSON writes as null, is missing.
    pub value: f32,
    /// The median of the rows that were learned from.
    pub typical: f32,
    /// By how much the row's value, against the typical one, raises the score; negative lowers it.
    pub effect: f64,
}

/// Every input of some rows, the one that raises the score most first; `scores` gives those of rows.
pub fn reasons(inputs: &Inputs, typical: &[f32], scores: impl Fn(&Inputs) -> Vec<f64>) -> Vec<Vec<Reason>> {
    let width = inputs.width;
    let occluded = |row: &[f32], input: Option<usize>| -> Vec<f32> {
        let mut row = row.to_vec();
        if let Some(input) = input {
            row[input] = typical[input];
        }
        row
    };
    let all = |at: usize| {
        let which = [None].into_iter().chain((0..width).map(Some));
        which.flat_map(move |input| occluded(inputs.row(at), input))
    };
    let rows = Inputs { width, values: (0..inputs.len()).flat_map(all).collect() };
    let scores = scores(&rows);
    let of = |(at, scores): (usize, &[f64])| {
        let reason = |input: usize| Reason {
            input,
            value: inputs.row(at)[input],
            typical: typical[input],
            effect: scores[0] - scores[input + 1],
        };
        let mut reasons: Vec<Reason> = (0..width).map(reason).collect();
        reasons.sort_by(|a, b| b.effect.total_cmp(&a.effect).then(a.input.cmp(&b.input)));
        reasons
    };
    scores.chunks_exact(width + 1).enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_is_what_the_score_loses() {
        let inputs = Inputs::new(3, vec![1.0, 5.0, 2.0, 0.0, 1.0, f32::NAN]).unwrap();
        let scores = |rows: &Inputs| -> Vec<f64> {
            let score = |at: usize| {
                let [a, b, c] = [0, 1, 2].map(|input| f64::from(rows.row(at)[input]));
                2.0 * a + b - if c.is_nan() { 0.0 } else { c }
            };
            (0..rows.len()).map(score).collect()
        };
        let found = reasons(&inputs, &[0.0, 1.0, 1.0], scores);
        let told = |at: usize| found[at].iter().map(|r| (r.input, r.effect)).collect::<Vec<_>>();
        assert_eq!(told(0), [(1, 4.0), (0, 2.0), (2, -1.0)]);
        assert_eq!(told(1), [(2, 1.0), (0, 0.0), (1, 0.0)]);
    }
}
