//! How well a number tells two kinds of rows apart.

/// Area under the ROC curve: the chance that a row of the kind has a higher score than another row, ties counting half
/// (Mann & Whitney 1947). None where all rows are of one kind.
pub fn auc(scores: &[f32], is_kind: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let of_kind = is_kind.iter().filter(|is| **is).count();
    let others = is_kind.len() - of_kind;
    if of_kind == 0 || others == 0 {
        return None;
    }
    let (mut ranks, mut below) = (0.0, 0);
    for ties in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let rank = below as f64 + (ties.len() + 1) as f64 / 2.0;
        ranks += rank * ties.iter().filter(|at| is_kind[**at]).count() as f64;
        below += ties.len();
    }
    let least = of_kind as f64 * (of_kind as f64 + 1.0) / 2.0;
    Some((ranks - least) / (of_kind as f64 * others as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_share_of_pairs_in_the_right_order() {
        // Of nine pairs five are in order, two are ties and two are not: 0.35 is below both 0.4.
        let found = auc(&[0.1, 0.4, 0.35, 0.8, 0.4, 0.4], &[false, false, true, true, false, true]);
        assert!((found.unwrap() - 6.0 / 9.0).abs() < 1e-12, "{found:?}");
        assert_eq!(auc(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(auc(&[1.0, 2.0], &[false, true]), Some(1.0));
    }
}
