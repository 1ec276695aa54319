//! Items that the same members buy: item-to-item collaborative filtering (Sarwar et al. 2001).

use super::Sparse;
use crate::threads;

/// Members in common that count as none: a likeness seen in few is no likeness.
const SHRINK: f32 = 10.0;

/// For each item the items most like it, the most alike first: the cosine of the sets of their members, where a member
/// counts the less the more items it has, shrunk where few members are in common.
///
/// `members` has a row for each member.
pub fn find(members: &Sparse, each: usize) -> Vec<Vec<(u32, f32)>> {
    let weights: Vec<f32> =
        (0..members.rows()).map(|at| 1.0 / (2.0 + members.row(at).len() as f32).log2()).collect();
    let items = members.transposed();
    let sizes: Vec<f32> =
        (0..items.rows()).map(|at| items.row(at).map(|(member, _)| weights[member]).sum()).collect();
    let blocks: Vec<std::ops::Range<usize>> =
        (0..items.rows()).step_by(256).map(|from| from..(from + 256).min(items.rows())).collect();
    let lists = threads::map(blocks, |block| {
        let (mut common, mut count) = (vec![0.0_f32; items.rows()], vec![0.0_f32; items.rows()]);
        block
            .map(|item| {
                common.fill(0.0);
                count.fill(0.0);
                for (member, _) in items.row(item) {
                    for (other, _) in members.row(member) {
                        common[other] += weights[member];
                        count[other] += 1.0;
                    }
                }
                common[item] = 0.0;
                let alike = |other: usize| {
                    let cosine = common[other] / (sizes[item] * sizes[other]).sqrt();
                    (other as u32, cosine * count[other] / (count[other] + SHRINK))
                };
                let mut list: Vec<(u32, f32)> =
                    (0..items.rows()).filter(|other| common[*other] > 0.0).map(alike).collect();
                let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
                if list.len() > each {
                    list.select_nth_unstable_by(each, order);
                    list.truncate(each);
                }
                list.sort_by(order);
                list
            })
            .collect::<Vec<_>>()
    });
    lists.concat()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::tastes, *};

    #[test]
    fn neighbours_are_of_the_same_taste_and_on_any_threads_the_same() {
        let matrix = tastes(400, 40, 6);
        let lists = find(&matrix, 5);
        let same = |(item, list): (usize, &Vec<(u32, f32)>)| {
            list.iter().filter(|(other, _)| (item < 20) == (*other < 20)).count()
        };
        let right: usize = lists.iter().enumerate().map(same).sum();
        assert!(right > 190, "{right} of 200");
        assert!(
            lists
                .iter()
                .enumerate()
                .all(|(item, list)| list.iter().all(|(other, _)| *other as usize != item))
        );
        assert_eq!(threads::allow(3, || find(&matrix, 5)), lists);
    }

    #[test]
    fn likeness_is_the_shrunk_cosine() {
        // Two members with both items, one with the first alone.
        let matrix = Sparse::of([vec![(0, 1.0), (1, 1.0)], vec![(0, 1.0), (1, 1.0)], vec![(0, 1.0)]], 2);
        let (both, one) = (0.5, 1.0 / 3.0_f32.log2());
        let expected = 2.0 * both / ((2.0 * both + one) * 2.0 * both).sqrt() * 2.0 / 12.0;
        let lists = find(&matrix, 3);
        assert_eq!(lists[0].len(), 1);
        assert!((lists[0][0].1 - expected).abs() < 1e-6, "{lists:?} {expected}");
    }
}
