//! Groups of rows that lie near each other: k-means (Lloyd 1982), begun as k-means++ does (Arthur & Vassilvitskii 2007).

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::mix;

/// Beginnings tried; the best end is kept.
const STARTS: u64 = 4;
const MOST_ROUNDS: usize = 100;

/// Centres, those of the largest group first, and each row's group.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// One for each group, `width` numbers.
    pub centres: Vec<Vec<f32>>,
    /// Index of each row's centre.
    pub of: Vec<usize>,
}

/// Groups rows of `width` numbers, stored one after the other, in at most `most` groups; fewer where rows are alike.
pub fn group(rows: &[f32], width: usize, most: usize, seed: u64) -> Groups {
    let rows: Vec<&[f32]> = rows.chunks_exact(width).collect();
    let ends = (0..STARTS).map(|start| {
        let mut centres = begin(&rows, most, &mut StdRng::seed_from_u64(mix(seed ^ mix(start))));
        let mut of = assign(&rows, &centres);
        for _ in 0..MOST_ROUNDS {
            centres = means(&rows, &of, &centres);
            let next = assign(&rows, &centres);
            if next == of {
                break;
            }
            of = next;
        }
        let spread: f64 = rows.iter().zip(&of).map(|(row, at)| distance(row, &centres[*at])).sum();
        (spread, Groups { centres, of })
    });
    let best = ends.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(Groups { centres: Vec::new(), of: Vec::new() }, |(_, groups)| groups.largest_first())
}

impl Groups {
    /// How many rows each group has.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.centres.len()];
        self.of.iter().for_each(|at| sizes[*at] += 1);
        sizes
    }

    /// Ordered by size, without those that have no row.
    fn largest_first(self) -> Self {
        let sizes = self.sizes();
        let mut order: Vec<usize> = (0..sizes.len()).filter(|at| sizes[*at] > 0).collect();
        order.sort_by_key(|at| (std::cmp::Reverse(sizes[*at]), *at));
        let mut place = vec![0; sizes.len()];
        order.iter().enumerate().for_each(|(new, old)| place[*old] = new);
        Self {
            centres: order.iter().map(|at| self.centres[*at].clone()).collect(),
            of: self.of.iter().map(|at| place[*at]).collect(),
        }
    }
}

/// A first centre at random, and each other one at a row drawn by its squared distance to those before.
fn begin(rows: &[&[f32]], most: usize, rng: &mut StdRng) -> Vec<Vec<f32>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut centres = vec![rows[rng.random_range(0..rows.len())].to_vec()];
    let mut away: Vec<f64> = rows.iter().map(|row| distance(row, &centres[0])).collect();
    while centres.len() < most {
        let total: f64 = away.iter().sum();
        if total <= 0.0 {
            break;
        }
        let mut left = rng.random_range(0.0..total);
        let drawn = away.iter().position(|away| {
            left -= away;
            left < 0.0
        });
        let centre = rows[drawn.unwrap_or(rows.len() - 1)].to_vec();
        away.iter_mut().zip(rows).for_each(|(away, row)| *away = away.min(distance(row, &centre)));
        centres.push(centre);
    }
    centres
}

/// The nearest centre of each row, of two as near the first.
fn assign(rows: &[&[f32]], centres: &[Vec<f32>]) -> Vec<usize> {
    let nearest = |row: &&[f32]| {
        let away = |at: &usize| distance(row, &centres[*at]);
        (0..centres.len()).min_by(|a, b| away(a).total_cmp(&away(b))).unwrap_or_default()
    };
    rows.iter().map(nearest).collect()
}

/// The mean of each group's rows; a group without rows stays where it is.
fn means(rows: &[&[f32]], of: &[usize], centres: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut sums: Vec<(usize, Vec<f64>)> =
        centres.iter().map(|centre| (0, vec![0.0; centre.len()])).collect();
    for (row, at) in rows.iter().zip(of) {
        sums[*at].0 += 1;
        sums[*at].1.iter_mut().zip(*row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let mean = |((n, sums), old): (&(usize, Vec<f64>), &Vec<f32>)| match n {
        0 => old.clone(),
        n => sums.iter().map(|sum| (sum / *n as f64) as f32).collect(),
    };
    sums.iter().zip(centres).map(mean).collect()
}

/// The squared distance.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_heaps_are_found_again_whatever_the_seed() {
        let noise = |at: u64| (mix(at) >> 11) as f32 / (1_u64 << 53) as f32 - 0.5;
        let heaps = [(0.0, 0.0, 100), (10.0, 0.0, 60), (0.0, 10.0, 30)];
        let rows: Vec<f32> = heaps
            .iter()
            .zip(0_u64..)
            .flat_map(|((x, y, n), heap)| {
                (0..*n).flat_map(move |i| [x + noise(heap * 1000 + i), y + noise(heap * 1000 + i + 500)])
            })
            .collect();
        for seed in 0..5 {
            let groups = group(&rows, 2, 3, seed);
            assert_eq!(groups.sizes(), [100, 60, 30], "the largest first");
            assert!(distance(&groups.centres[1], &[10.0, 0.0]) < 0.1, "{:?}", groups.centres);
            assert_eq!(groups, group(&rows, 2, 3, seed));
        }
    }

    #[test]
    fn rows_that_are_all_alike_are_one_group() {
        assert_eq!(group(&[1.0, 2.0, 1.0, 2.0], 2, 3, 1).sizes(), [2]);
        assert_eq!(group(&[], 2, 3, 1).sizes(), [0; 0]);
    }
}
