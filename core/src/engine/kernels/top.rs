//! The largest few along an axis.

use super::strides::{Line, extent};
use crate::{
    engine::{
        plan::{Check, Operand},
        run::Run,
    },
    error::{Result, bail},
};

/// The `k` largest (or smallest) along the middle axis of `[outer, len, inner]`, best first; of equals, the first.
/// NaN is larger than everything.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopK {
    pub(crate) x: u32,
    /// `[outer, k, inner]`.
    pub(crate) values: u32,
    /// `[outer, k, inner]`.
    pub(crate) indices: u32,
    pub(crate) outer: u32,
    pub(crate) len: u32,
    pub(crate) inner: u32,
    pub(crate) k: u32,
    pub(crate) largest: bool,
}

crate::wire::fields!(TopK { x, values, indices, outer, len, inner, k, largest });

impl TopK {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let len = extent(&[self.outer, self.len, self.inner])?;
        let made = extent(&[self.outer, self.k, self.inner])?;
        if self.k > self.len || self.values == self.indices {
            bail!(InvalidModel, "a kernel of the plan looks for {} of {} values", self.k, self.len);
        }
        check.reads(Operand::Slot(self.x), len)?;
        check.distinct(self.x, &[Operand::Slot(self.values), Operand::Slot(self.indices)])?;
        check.writes(self.values, made)?;
        check.writes(self.indices, made)?;
        Ok((len as u64).saturating_mul(u64::from(self.k)))
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let [outer, len, inner, k] = [self.outer, self.len, self.inner, self.k].map(|n| n as usize);
        let (mut values, mut indices) = (run.take(self.values), run.take(self.indices));
        let xs = run.slot(self.x, outer * len * inner);
        let made = (k * inner).max(1);
        let parts = values.chunks_exact_mut(made).zip(indices.chunks_exact_mut(made));
        for (xs, (values, indices)) in xs.chunks_exact((len * inner).max(1)).zip(parts) {
            for i in 0..inner {
                let line = Line { xs, at: i, step: inner as isize };
                let places = values.iter_mut().zip(&mut *indices).skip(i).step_by(inner);
                self.pick(line, len, places);
            }
        }
        run.put(self.values, values);
        run.put(self.indices, indices);
    }

    /// Takes the best, then the best of those after it, and so on: no memory is needed.
    fn pick<'y>(&self, line: Line<'_>, len: usize, places: impl Iterator<Item = (&'y mut f32, &'y mut f32)>) {
        let mut last: Option<(f32, usize)> = None;
        for (value, index) in places {
            let mut best: Option<(f32, usize)> = None;
            for (x, i) in (0..len).map(|i| (line.get(i), i)) {
                let left = last.is_none_or(|(v, at)| self.better(v, x) || (!self.better(x, v) && at < i));
                if left && best.is_none_or(|(v, _)| self.better(x, v)) {
                    best = Some((x, i));
                }
            }
            let (x, i) = best.unwrap_or_default();
            (*value, *index) = (x, i as f32);
            last = best;
        }
    }

    fn better(&self, a: f32, b: f32) -> bool {
        match self.largest {
            true => a > b || (a.is_nan() && !b.is_nan()),
            false => a < b || (b.is_nan() && !a.is_nan()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::engine::kernels::{
        Kernel,
        trial::{Trial, bits},
    };

    fn top(k: u32, largest: bool, inner: u32, len: u32) -> Trial {
        let kernel = TopK { x: 0, values: 1, indices: 2, outer: 1, len, inner, k, largest };
        Trial {
            kernel: Kernel::TopK(kernel),
            floats: vec![],
            fed: vec![len * inner],
            made: vec![k * inner; 2],
        }
    }

    #[test]
    fn the_best_come_first() {
        let nan = f32::NAN;
        let xs = [3.0, nan, 7.0, 7.0, -1.0];
        let run = |largest, slot| top(4, largest, 1, 5).run(1, &[&xs], slot);
        assert_eq!(bits(&run(true, 1)), bits(&[nan, 7.0, 7.0, 3.0]));
        assert_eq!(run(true, 2), [1.0, 2.0, 3.0, 0.0]);
        assert_eq!([run(false, 1), run(false, 2)], [[-1.0, 3.0, 7.0, 7.0], [4.0, 0.0, 2.0, 3.0]]);
        assert_eq!(top(2, true, 2, 3).run(1, &[&[1.0, 9.0, 2.0, 8.0, 3.0, 7.0]], 1), [3.0, 9.0, 2.0, 8.0]);
        assert_eq!(top(2, true, 2, 3).run(1, &[&[1.0, 9.0, 2.0, 8.0, 3.0, 7.0]], 2), [2.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn hostile_shapes_are_refused() {
        assert!(top(5, true, 1, 5).plan().is_ok() && top(6, true, 1, 5).plan().is_err());
        let refused = |change: &dyn Fn(&mut TopK)| {
            let mut kernel =
                TopK { x: 0, values: 1, indices: 2, outer: 1, len: 6, inner: 1, k: 2, largest: true };
            change(&mut kernel);
            let kernel = Kernel::TopK(kernel);
            Trial { kernel, floats: vec![], fed: vec![6], made: vec![2, 2] }.plan().is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|k| k.k = 3) && refused(&|k| k.outer = 2) && refused(&|k| k.inner = u32::MAX));
        assert!(refused(&|k| k.values = 2) && refused(&|k| k.indices = 0) && refused(&|k| k.indices = 3));
        assert!(refused(&|k| (k.outer, k.len, k.inner) = (0, u32::MAX, u32::MAX)));
    }
}
