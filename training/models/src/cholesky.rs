//! Linear equations with a symmetric positive matrix, by Cholesky's decomposition, in one fixed order of operations.

/// Solves `matrix · x = right`. Of the matrix (row after row) only what is on and below the diagonal is read; it is
/// overwritten. Where it is not positive by rounding, that variable hardly moves.
pub(super) fn solve(matrix: &mut [f64], mut right: Vec<f64>) -> Vec<f64> {
    factor(matrix, right.len());
    substitute(matrix, &mut right);
    right
}

/// The lower triangle whose product with its transpose an `n × n` matrix is, in its place. Column by column, so that what
/// is taken off a row is a sum of vectors.
pub(super) fn factor(matrix: &mut [f64], n: usize) {
    let mut column = vec![0.0; n];
    for k in 0..n {
        let left = matrix[k * n + k];
        let root = if left > 0.0 { left.sqrt() } else { f64::MAX.sqrt() };
        matrix[k * n + k] = root;
        for i in k + 1..n {
            let row = &mut matrix[i * n..=i * n + i];
            let share = row[k] / root;
            row[k] = share;
            column[i] = share;
            row[k + 1..].iter_mut().zip(&column[k + 1..=i]).for_each(|(x, by)| *x -= share * by);
        }
    }
}

/// Solves the equations of a matrix that was [`factor`]ed; `x` is the right side and becomes the solution.
pub(super) fn substitute(matrix: &[f64], x: &mut [f64]) {
    let n = x.len();
    for i in 0..n {
        let known: f64 = (0..i).map(|k| matrix[i * n + k] * x[k]).sum();
        x[i] = (x[i] - known) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| matrix[k * n + i] * x[k]).sum();
        x[i] = (x[i] - known) / matrix[i * n + i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        // A = [4 2 1; 2 5 3; 1 3 6], x = [1, -2, 3]; what is above the diagonal is not read.
        let mut matrix = vec![4.0, f64::NAN, f64::NAN, 2.0, 5.0, f64::NAN, 1.0, 3.0, 6.0];
        let x = solve(&mut matrix, vec![3.0, 1.0, 13.0]);
        assert!(x.iter().zip([1.0, -2.0, 3.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{x:?}");
    }

    #[test]
    fn a_variable_without_an_equation_does_not_move() {
        let x = solve(&mut [4.0, 0.0, 0.0, 0.0], vec![8.0, 1.0]);
        assert_eq!(x[0], 2.0);
        assert!(x[1].abs() < 1e-100, "{x:?}");
    }
}
