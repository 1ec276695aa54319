//! The transcendental functions that formulas may use, all with `libm`'s bits, so that a feature has the same bits on every target.
//!
//! `f64::exp` and its like call the platform's C library natively and another one in wasm; their last bits differ.

pub(crate) use libm::{exp2, floor, log, round, sqrt};

pub(crate) use crate::turn::{cos, sin};

/// log(1 + |x|) with the sign of x: monotone, defined everywhere, zero at zero.
pub(crate) fn signed_log1p(x: f64) -> f64 {
    libm::copysign(libm::log1p(libm::fabs(x)), x)
}
