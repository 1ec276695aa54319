//! Sorting in little code: heapsort (J. W. J. Williams, "Algorithm 232", 1964).
//!
//! The standard library's sorts are quicker on many values, and several kilobytes for each type that is sorted; what
//! is sorted here is a call's events or a bundle's names. Not stable: the order must leave no ties that matter.

// Every index is below the length that the loops are bounded by.
#![allow(clippy::indexing_slicing)]

/// Sorts in ascending order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, |a, b| a < b);
}

/// Sorts so that no item comes before one that goes `before` it.
pub(crate) fn sort_by<T>(items: &mut [T], before: impl Fn(&T, &T) -> bool) {
    for root in (0..items.len() / 2).rev() {
        sift(items, root, &before);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sift(&mut items[..end], 0, &before);
    }
}

/// Moves the root down to where both of its children go before it.
fn sift<T>(items: &mut [T], mut root: usize, before: &impl Fn(&T, &T) -> bool) {
    loop {
        let mut child = 2 * root + 1;
        if child >= items.len() {
            return;
        }
        if child + 1 < items.len() && before(&items[child], &items[child + 1]) {
            child += 1;
        }
        if !before(&items[root], &items[child]) {
            return;
        }
        items.swap(root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    #[test]
    fn what_it_sorts_is_sorted() {
        let mut state = 1_u32;
        for len in 0..200 {
            let mut items: Vec<u32> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state >> 26
                })
                .collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            super::sort(&mut items);
            assert_eq!(items, expected);
            super::sort(&mut items);
            assert_eq!(items, expected);
            super::sort_by(&mut items, |a, b| a > b);
            expected.reverse();
            assert_eq!(items, expected);
        }
    }
}
