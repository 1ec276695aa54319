//! Items that the same members buy: item-to-item collaborative filtering (Sarwar et al. 2001), a few neighbours for each.

// Every index is below a length that `check` has compared.
#![allow(clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::error::{Result, bail};

/// Fills up the row of an item with fewer neighbours.
const NONE: u16 = u16::MAX;

/// For each item the items most like it, with how alike they are, in 255 steps of the row's largest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    each: u32,
    items: Vec<u16>,
    codes: Vec<u8>,
    scales: Vec<f32>,
}

crate::wire::fields!(Neighbours { each, items, codes, scales });

impl Neighbours {
    /// Rounds lists of at most `each` neighbours, the most alike first, with likenesses above 0.
    pub fn round(lists: &[Vec<(u32, f32)>], each: usize) -> Self {
        let mut rounded = Self { each: each as u32, ..Self::default() };
        for list in lists {
            let largest = list.iter().fold(0.0_f32, |most, (_, alike)| most.max(*alike));
            let scale = if largest > 0.0 { largest / 255.0 } else { 1.0 };
            rounded.scales.push(scale);
            for at in 0..each {
                let (item, alike) = list.get(at).map_or((NONE, 0.0), |(item, alike)| (*item as u16, *alike));
                rounded.items.push(item);
                rounded.codes.push(libm::roundf(alike / scale) as u8);
            }
        }
        rounded
    }

    pub(super) fn check(&self, items: usize) -> Result<()> {
        let each = self.each as usize;
        let lengths = self.scales.len() == items && each <= 256;
        let rows = self.items.len() == items * each && self.codes.len() == items * each;
        let known = self.items.iter().all(|item| *item == NONE || usize::from(*item) < items);
        if !(lengths && rows && known && self.scales.iter().all(|scale| scale.is_finite())) {
            bail!(InvalidSpec, "the neighbours are not those of {items} items");
        }
        Ok(())
    }

    /// An item's neighbours and how alike they are.
    pub fn of(&self, item: usize) -> impl Iterator<Item = (usize, f32)> {
        let row = item * self.each as usize..(item + 1) * self.each as usize;
        let scale = self.scales[item];
        let pairs = self.items[row.clone()].iter().zip(&self.codes[row]);
        pairs
            .filter(|(neighbour, _)| **neighbour != NONE)
            .map(move |(neighbour, code)| (usize::from(*neighbour), f32::from(*code) * scale))
    }

    /// For every item, how alike it is to what a member cares about: Σ affinity · likeness.
    pub fn scores(&self, affinities: &[(u32, f32)], out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.scales.len(), 0.0);
        for (item, affinity) in affinities {
            self.of(*item as usize).for_each(|(neighbour, alike)| out[neighbour] += affinity * alike);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_bought_together_scores_for_it() {
        let lists = [vec![(1, 0.5), (2, 0.25)], vec![(0, 0.5)], vec![]];
        let neighbours = Neighbours::round(&lists, 2);
        neighbours.check(3).unwrap();
        assert_eq!(neighbours.of(2).count(), 0);
        let mut scores = Vec::new();
        neighbours.scores(&[(0, 2.0), (1, 1.0)], &mut scores);
        assert!((scores[0] - 0.5).abs() < 1e-6 && (scores[1] - 1.0).abs() < 1e-6, "{scores:?}");
        assert!((scores[2] - 0.5).abs() < 2.0 * 0.5 / 255.0, "{scores:?}");
    }

    #[test]
    fn neighbours_that_are_no_items_are_refused() {
        let neighbours = Neighbours::round(&[vec![(1, 0.5)]], 1);
        assert_eq!(neighbours.check(1).unwrap_err().code(), "invalid_spec");
        assert_eq!(Neighbours { codes: vec![], ..neighbours }.check(2).unwrap_err().code(), "invalid_spec");
    }
}
