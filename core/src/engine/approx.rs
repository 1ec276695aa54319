//! Exponential, logarithm, hyperbolic tangent, logistic and error function in single precision.
//!
//! Each is one branch-free formula of + − × ÷, comparisons and bit operations in a fixed order, so a value has the
//! same bits on every target, alone or in a slice; the loops over slices are plain enough that every compiler
//! vectorises them. Every function is right at ±∞ and gives NaN for NaN; the tests state the errors in ulp.
//! Polynomials of `exp`, `log` and small `tanh` are those of Cephes 2.2 (S. Moshier, expf.c, logf.c, tanhf.c);
//! those of `erf` have N. Juffa's form, |x| and sign apart, an exponential of a polynomial far from 0.

use super::wide::each;

/// 1.5 · 2²³: adding and subtracting it rounds to the nearest integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// eˣ, within 1 ulp.
#[inline(always)]
pub(crate) fn exp_of(x: f32) -> f32 {
    // Beyond these the result is infinite or rounds to 0. Written so that NaN passes.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x * core::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // The power of two in two factors, so that subnormal results are rounded once and 2¹²⁸ is not needed.
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = power >> 1;
    reduced_exp(x, n) * power_of_two(half) * power_of_two(power.wrapping_sub(half))
}

/// ln x, within 1 ulp; −∞ at 0, NaN below.
#[inline(always)]
pub(crate) fn log_of(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let normal = if tiny { x * 8_388_608.0 } else { x };
    // x = m · 2ᵉ with m in [√½, √2).
    let bits = normal.to_bits().wrapping_sub(core::f32::consts::FRAC_1_SQRT_2.to_bits());
    let e = ((bits as i32) >> 23) as f32 - if tiny { 23.0 } else { 0.0 };
    let mantissa = (bits & 0x007f_ffff).wrapping_add(core::f32::consts::FRAC_1_SQRT_2.to_bits());
    let m = f32::from_bits(mantissa) - 1.0;
    let squared = m * m;
    let p = horner(
        m,
        [
            7.037_683_6e-2,
            -0.115_146_1,
            0.116_769_984,
            -0.124_201_41,
            0.142_493_23,
            -0.166_680_58,
            0.200_007_15,
            -0.249_999_94,
            0.333_333_3,
        ],
    );
    let y = m * squared * p + e * LN_2[1] - 0.5 * squared;
    let y = m + y + e * LN_2[0];
    let y = if x < f32::INFINITY { y } else { x };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 { f32::NAN } else { y }
}

/// tanh x, within 2 ulp.
#[inline(always)]
pub(crate) fn tanh_of(x: f32) -> f32 {
    let t = x.abs();
    // From here on the result rounds to 1.
    let c = if t > 10.0 { 10.0 } else { t };
    let far = 1.0 - 2.0 / (exp_within(c + c) + 1.0);
    let s = t * t;
    let p = horner(s, [-5.704_989e-3, 2.063_909e-2, -5.373_971_5e-2, 0.133_314_43, -0.333_332_8]);
    (if t < 0.625 { p * s * t + t } else { far }).copysign(x)
}

/// 1 / (1 + e⁻ˣ), within 3 ulp; 0 where x < −88.3.
#[inline(always)]
pub(crate) fn sigmoid_of(x: f32) -> f32 {
    let t = if x > 87.0 { 87.0 } else { x };
    let t = if t < -88.3 { -89.0 } else { t };
    1.0 / (1.0 + exp_within(-t))
}

/// eˣ for −87 ≤ x ≤ 89, infinite from 2¹²⁷·⁵ on: the power of two takes one factor.
#[inline(always)]
fn exp_within(x: f32) -> f32 {
    // With the exponent's offset already added, the low bits are those of the power of two.
    let shifted = x * core::f32::consts::LOG2_E + (ROUND + 127.0);
    let n = shifted - (ROUND + 127.0);
    reduced_exp(x, n) * f32::from_bits(shifted.to_bits() << 23)
}

/// eˣ / 2ⁿ for n close to x / ln 2.
#[inline(always)]
fn reduced_exp(x: f32, n: f32) -> f32 {
    let r = x - n * LN_2[0] - n * LN_2[1];
    let p = horner(r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5]);
    p * (r * r) + r + 1.0
}

/// The error function, within 2 ulp.
#[inline(always)]
pub(crate) fn erf_of(x: f32) -> f32 {
    let t = x.abs();
    // From here on the result rounds to 1.
    let c = if t > 4.0 { 4.0 } else { t };
    let far = [-1.728_534_7e-5, 3.831_971_3e-4, -3.883_964_4e-3, 2.425_462_2e-2, -0.106_777_88, -0.634_846_7];
    let far = (horner(c, far) * c - 0.128_717_51) * c - c;
    let s = c * c;
    let near = [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 0.112_819_925, -0.376_125_34, 0.128_379_17];
    let near = horner(s, near) * t + t;
    (if t < 0.927_734_4 { near } else { 1.0 - exp_within(far) }).copysign(x)
}

/// Highest power first.
#[inline(always)]
fn horner<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.into_iter().reduce(|sum, c| sum * x + c).unwrap_or_default()
}

/// 2ⁿ for −126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// eˣ of every value.
pub(crate) fn exp(xs: &mut [f32]) {
    each(xs, exp_of);
}

/// tanh x of every value.
pub(crate) fn tanh(xs: &mut [f32]) {
    each(xs, tanh_of);
}

/// 1 / (1 + e⁻ˣ) of every value.
pub(crate) fn sigmoid(xs: &mut [f32]) {
    each(xs, sigmoid_of);
}

#[cfg(test)]
mod tests {
    use std::{println, vec::Vec};

    use super::*;

    /// The largest error in units of the last place of the exact result, which is never less than the smallest
    /// subnormal, over every 4001st bit pattern.
    fn worst(name: &str, ours: fn(&mut [f32]), exact: fn(f64) -> f64) -> f64 {
        let xs: Vec<f32> = (0..=u32::MAX).step_by(4001).map(f32::from_bits).filter(|x| !x.is_nan()).collect();
        let mut ys = xs.clone();
        ours(&mut ys);
        let error = |x: f32, y: f32| {
            let exact = exact(f64::from(x));
            let nearest = exact as f32;
            if y == nearest || (y.is_nan() && nearest.is_nan()) {
                return 0.0;
            }
            let ulp = f64::from(nearest.abs().next_up() - nearest.abs());
            let error = (f64::from(y) - exact).abs() / ulp;
            if error.is_nan() { f64::INFINITY } else { error }
        };
        let (x, worst) = xs
            .iter()
            .zip(&ys)
            .map(|(x, y)| (*x, error(*x, *y)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or_default();
        println!("{name}: at most {worst:.3} ulp, at {x:e}");
        worst
    }

    #[test]
    fn errors_are_as_stated() {
        let logistic = |x: f64| if x < -88.3 { 0.0 } else { 1.0 / (1.0 + libm::exp(-x)) };
        assert!(worst("exp", exp, libm::exp) <= 1.0);
        assert!(worst("log", |xs| each(xs, log_of), libm::log) <= 1.0);
        assert!(worst("tanh", tanh, libm::tanh) <= 2.0);
        assert!(worst("sigmoid", sigmoid, logistic) <= 3.0);
        assert!(worst("erf", |xs| each(xs, erf_of), libm::erf) <= 2.0);
    }

    #[test]
    fn ends_of_the_range() {
        let all = [exp_of, log_of, tanh_of, sigmoid_of, erf_of];
        assert!(all.iter().all(|f| f(f32::NAN).is_nan()));
        let at = |x: f32| all.map(|f| f(x));
        assert_eq!(at(f32::INFINITY), [f32::INFINITY, f32::INFINITY, 1.0, 1.0, 1.0]);
        assert_eq!(at(0.0), [1.0, f32::NEG_INFINITY, 0.0, 0.5, 0.0]);
        let [exp, log, tanh, sigmoid, erf] = at(f32::NEG_INFINITY);
        assert_eq!([exp, tanh, sigmoid, erf], [0.0, -1.0, 0.0, -1.0]);
        assert!(log.is_nan());
        // Subnormal results are rounded, not flushed.
        assert_eq!(exp_of(-100.0).to_bits(), (libm::exp(-100.0) as f32).to_bits());
        assert_eq!(log_of(f32::from_bits(1)), libm::log(f64::from(f32::from_bits(1))) as f32);
        assert!(tanh_of(-0.0).is_sign_negative() && erf_of(-0.0).is_sign_negative());
    }

    #[test]
    fn a_slice_has_the_bits_of_its_values() {
        let xs: Vec<f32> = (0..1003).map(|i| (i as f32 - 500.0) * 0.183_1).collect();
        let many: [fn(&mut [f32]); 5] = [exp, |xs| each(xs, log_of), tanh, sigmoid, |xs| each(xs, erf_of)];
        for (many, one) in many.into_iter().zip([exp_of, log_of, tanh_of, sigmoid_of, erf_of]) {
            let mut ys = xs.clone();
            many(&mut ys);
            let alone = xs.iter().map(|x| one(*x));
            // The sign of a computed NaN is the processor's; plans replace it.
            assert!(
                ys.iter().zip(alone).all(|(y, z)| y.to_bits() == z.to_bits() || (y.is_nan() && z.is_nan()))
            );
        }
    }
}
