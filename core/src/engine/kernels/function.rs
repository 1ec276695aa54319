//! The functions of one value.

use crate::engine::{
    approx::{erf_of, exp_of, log_of, sigmoid_of, tanh_of},
    wide::each,
};

/// A function of one value. Truth is 1, falsehood 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Function {
    Relu,
    /// x where x ≥ 0, else slope · x.
    LeakyRelu(f32),
    /// x limited to [low, high]; NaN stays NaN.
    Clip {
        low: f32,
        high: f32,
    },
    Sigmoid,
    Tanh,
    Exp,
    Log,
    Sqrt,
    Erf,
    /// x/2 · (1 + erf(x/√2)).
    Gelu,
    /// The same by tanh, as ONNX's `approximate = "tanh"`.
    GeluTanh,
    Negate,
    Abs,
    Reciprocal,
    Floor,
    Ceil,
    /// To the nearest integer, ties to even.
    Round,
    /// Towards zero: a cast to integers.
    Truncate,
    Sign,
    Not,
    IsNan,
    /// 1 where x is not 0: a cast to truth values.
    IsTrue,
    Elu(f32),
    Softplus,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// The quantile function of the normal distribution: a post-transform of ONNX-ML. By S. Winitzki's formula with
    /// the constants of the ONNX reference, as every runtime computes it; its error is up to 0.005.
    Probit,
}

crate::wire::variants!(Function { Relu, LeakyRelu(value), Clip { low, high }, Sigmoid, Tanh, Exp, Log, Sqrt, Erf, Gelu, GeluTanh, Negate, Abs, Reciprocal, Floor, Ceil, Round, Truncate, Sign, Not, IsNan, IsTrue, Elu(value), Softplus, HardSigmoid { alpha, beta }, Probit });

impl Function {
    /// Applies the function to each value.
    pub(crate) fn apply(self, xs: &mut [f32]) {
        match self {
            Self::Relu => each(xs, |x| if x < 0.0 { 0.0 } else { x }),
            Self::LeakyRelu(slope) => each(xs, |x| if x < 0.0 { x * slope } else { x }),
            Self::Clip { low, high } => each(xs, |x| limit(x, low, high)),
            Self::Sigmoid => each(xs, sigmoid_of),
            Self::Tanh => each(xs, tanh_of),
            Self::Exp => each(xs, exp_of),
            Self::Log => each(xs, log_of),
            Self::Sqrt => each(xs, sqrt),
            Self::Erf => each(xs, erf_of),
            Self::Gelu => each(xs, |x| 0.5 * x * (1.0 + erf_of(x * core::f32::consts::FRAC_1_SQRT_2))),
            Self::GeluTanh => each(xs, gelu_tanh),
            Self::Negate => each(xs, |x| -x),
            Self::Abs => each(xs, f32::abs),
            Self::Reciprocal => each(xs, |x| 1.0 / x),
            Self::HardSigmoid { alpha, beta } => each(xs, |x| limit(x * alpha + beta, 0.0, 1.0)),
            // Rarer ones share a loop: they need not be vectors.
            _ => each(xs, |x| self.of(x)),
        }
    }

    fn of(self, x: f32) -> f32 {
        match self {
            Self::Floor => libm::floorf(x),
            Self::Ceil => libm::ceilf(x),
            Self::Round => libm::rintf(x),
            Self::Truncate => libm::truncf(x),
            Self::Sign if x > 0.0 => 1.0,
            Self::Sign if x < 0.0 => -1.0,
            Self::Sign if x == 0.0 => 0.0,
            Self::Not => truth(x == 0.0),
            Self::IsNan => truth(x.is_nan()),
            Self::IsTrue => truth(x != 0.0),
            Self::Elu(alpha) if x < 0.0 => alpha * libm::expm1f(x),
            Self::Softplus => (if x > 0.0 { x } else { 0.0 }) + libm::log1pf(exp_of(-x.abs())),
            Self::Probit => probit(x),
            _ => x,
        }
    }
}

pub(super) fn truth(is: bool) -> f32 {
    f32::from(u8::from(is))
}

/// Comparisons with NaN are false, so NaN passes.
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// The square root has one right answer; an instruction and libm give the same bits.
pub(super) fn sqrt(x: f32) -> f32 {
    #[cfg(feature = "std")]
    return x.sqrt();
    #[cfg(not(feature = "std"))]
    libm::sqrtf(x)
}

fn gelu_tanh(x: f32) -> f32 {
    // √(2/π).
    let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + tanh_of(inner))
}

// Not π: the constant of ONNX's definition, which other runtimes use.
#[allow(clippy::approx_constant)]
fn probit(p: f32) -> f32 {
    let x = 2.0 * p - 1.0;
    let log = log_of((1.0 - x) * (1.0 + x));
    let v = 2.0 / (3.14159 * 0.147) + 0.5 * log;
    let inverse = sqrt(sqrt(v * v - log * (1.0 / 0.147)) - v);
    core::f32::consts::SQRT_2 * if x < 0.0 { -inverse } else { inverse }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn unary(function: Function, xs: &[f32]) -> Vec<f32> {
        let mut ys = xs.to_vec();
        function.apply(&mut ys);
        ys
    }

    #[test]
    fn functions_at_their_edges() {
        use Function::*;
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let keep_nan = [
            Relu,
            LeakyRelu(0.1),
            Clip { low: -1.0, high: 1.0 },
            Sigmoid,
            Tanh,
            Exp,
            Log,
            Sqrt,
            Erf,
            Gelu,
            GeluTanh,
            Negate,
            Abs,
            Reciprocal,
            Floor,
            Ceil,
            Round,
            Truncate,
            Sign,
            Elu(1.0),
            Softplus,
            HardSigmoid { alpha: 0.2, beta: 0.5 },
            Probit,
        ];
        assert!(keep_nan.iter().all(|f| unary(*f, &[nan])[0].is_nan()));
        assert_eq!(unary(Round, &[0.5, 1.5, -0.5, -2.5, 2.4]), [0.0, 2.0, -0.0, -2.0, 2.0]);
        assert_eq!(unary(Truncate, &[1.9, -1.9, inf]), [1.0, -1.0, inf]);
        assert_eq!(unary(Sign, &[3.0, -0.0, -inf]), [1.0, 0.0, -1.0]);
        assert_eq!([unary(Not, &[0.0, nan]), unary(IsTrue, &[-0.0, nan])], [[1.0, 0.0], [0.0, 1.0]]);
        assert_eq!(unary(Clip { low: 2.0, high: 1.0 }, &[0.0, 3.0]), [1.0, 1.0]);
        assert_eq!(unary(Softplus, &[-inf, inf, -200.0, 50.0]), [0.0, inf, 0.0, 50.0]);
        assert_eq!(unary(Elu(2.0), &[-inf, 3.0, -1e-6]), [-2.0, 3.0, -1.999_999e-6]);
        assert_eq!(unary(Gelu, &[0.0, 10.0, -10.0]), [0.0, 10.0, 0.0]);
        assert_eq!(unary(GeluTanh, &[0.0, 10.0, -10.0]), [0.0, 10.0, 0.0]);
        assert_eq!(unary(IsNan, &[nan, 1.0]), [1.0, 0.0]);
        assert_eq!([unary(Floor, &[-0.5]), unary(Ceil, &[0.5])], [[-1.0], [1.0]]);
        let probit = unary(Probit, &[0.5, 0.975, 0.025, 0.0, 1.0]);
        assert!(probit[0] == 0.0 && (probit[1] - 1.96).abs() < 0.005 && (probit[1] + probit[2]).abs() < 1e-5);
        assert_eq!(probit[3..], [-inf, inf]);
    }
}
