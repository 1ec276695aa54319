//! Kernels that work element by element on one, two or three values.

use alloc::vec::Vec;

use super::{
    function::{Function, truth},
    strides::{Line, Lines, reach, volume},
};

use crate::{
    engine::{
        plan::{Check, Operand},
        run::Run,
    },
    error::Result,
};

/// `out = function(x)` for `len` values; `x` and `out` may be the same buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unary {
    pub(crate) function: Function,
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) len: u32,
}

crate::wire::fields!(Unary { function, x, out, len });

/// A function of two values. Truth is 1, falsehood 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    /// Division of integers, towards zero; 0 where the divisor is 0.
    DivInteger,
    /// NaN where either is NaN.
    Min,
    /// NaN where either is NaN.
    Max,
    Pow,
    Equal,
    Less,
    LessOrEqual,
    And,
    Or,
    Xor,
    /// a where a ≥ 0, else a · b.
    Prelu,
}

crate::wire::variants!(BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    DivInteger,
    Min,
    Max,
    Pow,
    Equal,
    Less,
    LessOrEqual,
    And,
    Or,
    Xor,
    Prelu
});

/// `out = op(a, b)` with broadcasting. The box of each operand is all that one of its rows has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) a: Operand,
    pub(crate) b: Operand,
    pub(crate) out: u32,
    /// Shape of the result; neighbouring axes that broadcast alike are already merged.
    pub(crate) shape: Vec<u32>,
    /// Distance between neighbours along each axis; 0 where broadcast.
    pub(crate) a_strides: Vec<u32>,
    pub(crate) b_strides: Vec<u32>,
}

crate::wire::fields!(Binary { op, a, b, out, shape, a_strides, b_strides });

/// `out = condition ≠ 0 ? a : b` with broadcasting, as in [`Binary`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Select {
    pub(crate) condition: Operand,
    pub(crate) a: Operand,
    pub(crate) b: Operand,
    pub(crate) out: u32,
    pub(crate) shape: Vec<u32>,
    /// Of the condition, of `a`, of `b`.
    pub(crate) strides: [Vec<u32>; 3],
}

crate::wire::fields!(Select { condition, a, b, out, shape, strides });

impl Unary {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        check.reads(Operand::Slot(self.x), self.len as usize)?;
        check.writes(self.out, self.len as usize)?;
        Ok(u64::from(self.len))
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let len = self.len as usize;
        let mut out = run.take(self.out);
        let ys = out.get_mut(..run.rows * len).unwrap_or_default();
        if self.x != self.out {
            ys.copy_from_slice(run.slot(self.x, len));
        }
        self.function.apply(ys);
        run.put(self.out, out);
    }
}

impl BinaryOp {
    fn of(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::DivInteger if b == 0.0 => 0.0,
            Self::DivInteger => libm::trunc(f64::from(a) / f64::from(b)) as f32,
            Self::Min => min(a, b),
            Self::Max => max(a, b),
            // In double precision, so that the result is nearly always the nearest float.
            Self::Pow => libm::pow(f64::from(a), f64::from(b)) as f32,
            Self::Equal => truth(a == b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
            Self::Xor => truth((a != 0.0) != (b != 0.0)),
            Self::Prelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
        }
    }

    /// Applies the operation along a line.
    fn along(self, out: &mut [f32], a: Line<'_>, b: Line<'_>) {
        match self {
            Self::Add => along(out, a, b, |a, b| Self::Add.of(a, b)),
            Self::Sub => along(out, a, b, |a, b| Self::Sub.of(a, b)),
            Self::Mul => along(out, a, b, |a, b| Self::Mul.of(a, b)),
            Self::Div => along(out, a, b, |a, b| Self::Div.of(a, b)),
            Self::Min => along(out, a, b, min),
            Self::Max => along(out, a, b, max),
            // Rarer ones share a loop: they need not be vectors.
            _ => strided(out, a, b, |a, b| self.of(a, b)),
        }
    }
}

/// The smaller; NaN where either is. Without a branch, so that it is vectorised.
pub(super) fn min(a: f32, b: f32) -> f32 {
    if (a < b) | a.is_nan() { a } else { b }
}

/// The larger; NaN where either is. Without a branch, so that it is vectorised.
pub(super) fn max(a: f32, b: f32) -> f32 {
    if (a > b) | a.is_nan() { a } else { b }
}

/// Takes the loop that suits the steps, so that the usual ones become vectors.
fn along(out: &mut [f32], a: Line<'_>, b: Line<'_>, f: impl Fn(f32, f32) -> f32) {
    let n = out.len();
    match (a.step, b.step) {
        (1, 1) => out.iter_mut().zip(a.slice(n)).zip(b.slice(n)).for_each(|((y, a), b)| *y = f(*a, *b)),
        (1, 0) => {
            let b = b.get(0);
            out.iter_mut().zip(a.slice(n)).for_each(|(y, a)| *y = f(*a, b));
        }
        (0, 1) => {
            let a = a.get(0);
            out.iter_mut().zip(b.slice(n)).for_each(|(y, b)| *y = f(a, *b));
        }
        _ => strided(out, a, b, f),
    }
}

fn strided(out: &mut [f32], a: Line<'_>, b: Line<'_>, f: impl Fn(f32, f32) -> f32) {
    out.iter_mut().enumerate().for_each(|(i, y)| *y = f(a.get(i), b.get(i)));
}

impl Binary {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let volume = volume(&self.shape, &[self.a_strides.len(), self.b_strides.len()])?;
        check.reads(self.a, reach(&self.shape, &self.a_strides)?)?;
        check.reads(self.b, reach(&self.shape, &self.b_strides)?)?;
        check.distinct(self.out, &[self.a, self.b])?;
        check.writes(self.out, volume)?;
        Ok(volume as u64)
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let (lines, operands) =
            broadcast(run, &self.shape, [self.a, self.b], [&self.a_strides, &self.b_strides]);
        visit(&mut out, lines, operands, |ys, [a, b]| self.op.along(ys, a, b));
        run.put(self.out, out);
    }
}

impl Select {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        let volume = volume(&self.shape, &self.strides.each_ref().map(Vec::len))?;
        let operands = [self.condition, self.a, self.b];
        for (operand, strides) in operands.iter().zip(&self.strides) {
            check.reads(*operand, reach(&self.shape, strides)?)?;
        }
        check.distinct(self.out, &operands)?;
        check.writes(self.out, volume)?;
        Ok(volume as u64)
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let operands = [self.condition, self.a, self.b];
        let (lines, operands) = broadcast(run, &self.shape, operands, self.strides.each_ref().map(|s| &**s));
        visit(&mut out, lines, operands, |ys, [condition, a, b]| {
            let pick = |i| if condition.get(i) != 0.0 { a.get(i) } else { b.get(i) };
            ys.iter_mut().enumerate().for_each(|(i, y)| *y = pick(i));
        });
        run.put(self.out, out);
    }
}

/// The operands' values for all rows, and the lines that their boxes have.
fn broadcast<'r, const N: usize>(
    run: &'r Run<'_>,
    shape: &[u32],
    operands: [Operand; N],
    strides: [&[u32]; N],
) -> (Lines<N>, [&'r [f32]; N]) {
    let read = |i: usize| {
        let len = strides.get(i).and_then(|strides| reach(shape, strides).ok()).unwrap_or_default();
        operands.get(i).map(|operand| run.read(*operand, len)).unwrap_or_default()
    };
    let values: [(&[f32], usize); N] = core::array::from_fn(read);
    let stride = |operand: usize, axis: usize| {
        strides.get(operand).and_then(|strides| strides.get(axis)).map_or(0, |stride| *stride as isize)
    };
    (Lines::new(run.rows, values.map(|v| v.1), shape, stride), values.map(|v| v.0))
}

/// Calls `f` with each line of the result and of the operands.
fn visit<const N: usize>(
    out: &mut [f32],
    lines: Lines<N>,
    operands: [&[f32]; N],
    f: impl Fn(&mut [f32], [Line<'_>; N]),
) {
    let (len, steps) = lines.line();
    let mut parts = out.chunks_exact_mut(len.max(1));
    lines.for_each([0; N], |starts| {
        let mut ends = operands.iter().zip(starts).zip(steps);
        let line = |_| ends.next().map_or(Line::NONE, |((xs, at), step)| Line { xs, at, step });
        if let Some(part) = parts.next() {
            f(part, core::array::from_fn(line));
        }
    });
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::engine::kernels::{
        Kernel,
        trial::{Trial, bits, noise},
    };

    fn unary(function: Function, xs: &[f32]) -> Vec<f32> {
        let mut ys = xs.to_vec();
        function.apply(&mut ys);
        ys
    }

    #[test]
    fn unary_in_place_and_not() {
        let xs = noise(3 * 37);
        let apart = Trial {
            kernel: Kernel::Unary(Unary { function: Function::Gelu, x: 0, out: 1, len: 37 }),
            floats: vec![],
            fed: vec![37],
            made: vec![37],
        };
        let together = Trial {
            kernel: Kernel::Unary(Unary { function: Function::Gelu, x: 0, out: 0, len: 37 }),
            floats: vec![],
            fed: vec![37],
            made: vec![],
        };
        let expected = unary(Function::Gelu, &xs);
        assert_eq!(bits(&apart.run(3, &[&xs], 1)), bits(&expected));
        assert_eq!(bits(&together.run(3, &[&xs], 0)), bits(&expected));
        let beyond = Unary { function: Function::Gelu, x: 0, out: 1, len: 38 };
        assert!(Trial { kernel: Kernel::Unary(beyond), ..apart }.plan().is_err());
    }

    fn binary(op: BinaryOp, b: Operand, shape: &[u32], a_strides: &[u32], b_strides: &[u32]) -> Trial {
        let volume = shape.iter().product();
        let (a_len, b_len) = (reach(shape, a_strides).unwrap() as u32, reach(shape, b_strides).unwrap());
        let [shape, a_strides, b_strides] = [shape, a_strides, b_strides].map(<[u32]>::to_vec);
        let kernel = Binary { op, a: Operand::Slot(0), b, out: 2, shape, a_strides, b_strides };
        Trial {
            kernel: Kernel::Binary(kernel),
            floats: noise(b_len),
            fed: vec![a_len, b_len as u32],
            made: vec![volume],
        }
    }

    #[test]
    fn broadcasts_are_as_in_a_plain_loop() {
        let cases: [(&[u32], &[u32], &[u32]); 6] = [
            (&[7], &[1], &[1]),
            (&[7], &[1], &[0]),
            (&[4, 5], &[1, 0], &[0, 1]),
            (&[4, 5], &[5, 1], &[0, 1]),
            (&[2, 3, 4], &[3, 1, 0], &[4, 0, 1]),
            (&[], &[], &[]),
        ];
        for ((shape, a_strides, b_strides), constant) in cases.iter().flat_map(|c| [(c, true), (c, false)]) {
            let b = if constant { Operand::Const(0) } else { Operand::Slot(1) };
            for op in [BinaryOp::Sub, BinaryOp::Prelu] {
                let trial = binary(op, b, shape, a_strides, b_strides);
                let (a_len, b_len) = (trial.fed[0] as usize, trial.fed[1] as usize);
                let rows = 5;
                let (a, fed) = (noise(a_len * rows), noise((b_len + 1) * rows));
                let fed = &fed[..b_len * rows];
                let all = if constant { trial.floats.repeat(rows) } else { fed.to_vec() };
                let mut expected = Vec::new();
                for row in 0..rows {
                    for i in 0..trial.made[0] {
                        let (mut rest, mut at) = (i, [row as u32 * a_len as u32, row as u32 * b_len as u32]);
                        for axis in (0..shape.len()).rev() {
                            at[0] += rest % shape[axis] * a_strides[axis];
                            at[1] += rest % shape[axis] * b_strides[axis];
                            rest /= shape[axis];
                        }
                        expected.push(op.of(a[at[0] as usize], all[at[1] as usize]));
                    }
                }
                assert_eq!(bits(&trial.run(rows, &[&a, fed], 2)), bits(&expected), "{shape:?} {op:?}");
            }
        }
    }

    #[test]
    fn operations_at_their_edges() {
        use BinaryOp::*;
        let nan = f32::NAN;
        assert!([Min, Max].iter().all(|op| op.of(nan, 1.0).is_nan() && op.of(1.0, nan).is_nan()));
        assert_eq!([7.0, -7.0, 7.0].map(|a| DivInteger.of(a, 2.0)), [3.0, -3.0, 3.0]);
        assert_eq!((DivInteger.of(7.0, 0.0), DivInteger.of(16_777_215.0, 16_777_216.0)), (0.0, 0.0));
        assert_eq!((Pow.of(2.0, 10.0), Pow.of(-2.0, 3.0), Pow.of(0.0, 0.0)), (1024.0, -8.0, 1.0));
        assert_eq!([Equal, Less, LessOrEqual].map(|op| op.of(nan, nan)), [0.0; 3]);
        assert_eq!([And, Or, Xor].map(|op| op.of(2.0, 0.0)), [0.0, 1.0, 1.0]);
        assert_eq!((Prelu.of(-2.0, 0.25), Prelu.of(2.0, 0.25)), (-0.5, 2.0));
    }

    #[test]
    fn hostile_boxes_are_refused() {
        let good = binary(BinaryOp::Add, Operand::Slot(1), &[4, 5], &[5, 1], &[0, 1]);
        let Kernel::Binary(kernel) = &good.kernel else { panic!() };
        let refused = |change: &dyn Fn(&mut Binary)| {
            let mut kernel = kernel.clone();
            change(&mut kernel);
            let (floats, fed, made) = (good.floats.clone(), good.fed.clone(), good.made.clone());
            Trial { kernel: Kernel::Binary(kernel), floats, fed, made }.plan().is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|k| k.shape = vec![4]));
        assert!(refused(&|k| k.shape = vec![5, 5]));
        assert!(refused(&|k| k.b_strides = vec![1, 1]));
        assert!(refused(&|k| k.b_strides = vec![u32::MAX, u32::MAX]));
        assert!(refused(&|k| k.shape = vec![u32::MAX, u32::MAX]));
        assert!(refused(&|k| k.out = 1));
        assert!(refused(&|k| k.out = 3));
        assert!(refused(&|k| k.b = Operand::Const(u32::MAX)));
        // An empty box may begin just behind the constants, but no buffer was written with empty rows.
        assert!(refused(&|k| (k.shape, k.b) = (vec![0, 5], Operand::Const(5))));
        let mut empty = binary(BinaryOp::Add, Operand::Const(5), &[0, 5], &[5, 1], &[0, 1]);
        empty.floats = noise(5);
        assert!(empty.plan().is_ok());
        empty.floats = noise(4);
        assert!(empty.plan().is_err());
    }

    #[test]
    fn select_picks() {
        let strides = [vec![1, 0], vec![3, 1], vec![0, 0]];
        let (condition, a, b) = (Operand::Slot(0), Operand::Slot(1), Operand::Const(0));
        let kernel = Select { condition, a, b, out: 2, shape: vec![2, 3], strides };
        let trial =
            Trial { kernel: Kernel::Select(kernel), floats: vec![9.0], fed: vec![2, 6], made: vec![6] };
        let a: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let out = trial.run(2, &[&[0.0, 1.0, -1.0, 0.0], &a], 2);
        assert_eq!(out, [9.0, 9.0, 9.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.0, 9.0]);
    }
}
