//! How good lists are: hits, ranks, how much of the catalogue they reach, and how much their items differ.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tiercast_core::{NO_LABEL, Shelf};

/// Items of a list that are looked at.
pub(super) const TOP: usize = 10;

/// What lists of ten are worth to members who bought something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    /// Members judged: those who bought an item that counts.
    pub members: usize,
    /// Share of them who bought at least one of the ten.
    pub hit: f64,
    /// Mean of the normalised discounted cumulative gain over the ten (Järvelin & Kekäläinen 2002).
    pub ndcg: f64,
    /// Share of the catalogue that is in any list.
    pub coverage: f64,
    /// Share of the pairs within a list that are of different categories.
    pub diversity: f64,
}

/// A list, as places in the catalogue, and the hashes of what was bought.
pub(super) struct Judged {
    pub(super) list: Vec<u32>,
    pub(super) bought: HashSet<u32>,
}

impl Scores {
    /// Judges lists; members who bought nothing that counts are left out.
    pub(super) fn of(shelf: &Shelf, hashes: &[u32], judged: &[Judged]) -> Self {
        let judged: Vec<&Judged> = judged.iter().filter(|one| !one.bought.is_empty()).collect();
        let (mut hit, mut ndcg, mut differ, mut pairs) = (0_usize, 0.0, 0_usize, 0_usize);
        let mut reached: HashSet<u32> = HashSet::new();
        let category = |at: u32| shelf.catalogue().items[at as usize].category;
        for Judged { list, bought } in &judged {
            let list = &list[..list.len().min(TOP)];
            let right: Vec<bool> = list.iter().map(|at| bought.contains(&hashes[*at as usize])).collect();
            hit += usize::from(right.contains(&true));
            ndcg += gain(right.iter().copied()) / gain((0..TOP).map(|at| at < bought.len()));
            reached.extend(list);
            for (at, a) in list.iter().enumerate() {
                for b in &list[at + 1..] {
                    pairs += 1;
                    differ += usize::from(category(*a) != category(*b) || category(*a) == NO_LABEL);
                }
            }
        }
        let of = |sum: f64, of: usize| if of > 0 { sum / of as f64 } else { 0.0 };
        Self {
            members: judged.len(),
            hit: of(hit as f64, judged.len()),
            ndcg: of(ndcg, judged.len()),
            coverage: of(reached.len() as f64, hashes.len()),
            diversity: of(differ as f64, pairs),
        }
    }
}

/// Σ 1 / log₂(rank + 1) over what is right.
fn gain(right: impl Iterator<Item = bool>) -> f64 {
    right.zip(2_u32..).filter(|(right, _)| *right).map(|(_, rank)| 1.0 / f64::from(rank).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::gain;

    #[test]
    fn the_gain_is_that_of_the_formula() {
        let list = [true, false, true].into_iter();
        assert!((gain(list) - (1.0 + 1.0 / 4.0_f64.log2())).abs() < 1e-12);
    }
}
