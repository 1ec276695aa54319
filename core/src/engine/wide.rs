//! Loops compiled a second time for AVX2, and taken where the processor has it.
//!
//! Wider registers hold more lanes of the same sums; multiplication and addition stay separate, so no bit changes.
//! Every x86-64 build may use SSE2 only; AVX2 takes about half its time. This is the one module with `unsafe`:
//! code for AVX2 may only be entered once the processor was asked.

/// A loop that can be compiled for several kinds of processor.
pub(crate) trait Loop {
    /// Must be `#[inline(always)]`. `WIDE`: there are sixteen registers of eight lanes, not of four.
    fn run<const WIDE: bool>(self);
}

/// Runs a loop, for AVX2 if the processor has it.
#[inline(always)]
pub(crate) fn run(work: impl Loop) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        #[allow(unsafe_code)]
        return unsafe { run_avx2(work) };
    }
    work.run::<false>();
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
fn run_avx2(work: impl Loop) {
    work.run::<true>();
}

/// Applies a function to every value.
pub(crate) fn each(xs: &mut [f32], f: impl Fn(f32) -> f32) {
    run(Each { xs, f });
}

struct Each<'x, F> {
    xs: &'x mut [f32],
    f: F,
}

impl<F: Fn(f32) -> f32> Loop for Each<'_, F> {
    #[inline(always)]
    fn run<const WIDE: bool>(self) {
        self.xs.iter_mut().for_each(|x| *x = (self.f)(*x));
    }
}
