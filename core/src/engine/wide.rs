//! Loops compiled again for AVX2 and AVX-512, and taken where the processor has them.
//!
//! Wider registers hold more lanes of the same sums; multiplication and addition stay separate, so no bit changes.
//! Every x86-64 build may use SSE2 only; measured on products and exponentials, AVX2 takes half its time and AVX-512
//! a third. This is the one module with `unsafe`: such code may only be entered once the processor was asked.
//! `cargo xtask miri` runs its test in Miri.

/// A loop that can be compiled for several kinds of processor.
pub(crate) trait Loop {
    /// Must be `#[inline(always)]`. `LANES`: how many floats a register holds.
    fn run<const LANES: usize>(self);
}

/// Runs a loop in the widest registers that the processor has.
#[inline(always)]
pub(crate) fn run(work: impl Loop) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512.
            #[allow(unsafe_code)]
            return unsafe { run_avx512(work) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            #[allow(unsafe_code)]
            return unsafe { run_avx2(work) };
        }
    }
    work.run::<4>();
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f")]
fn run_avx512(work: impl Loop) {
    work.run::<16>();
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
fn run_avx2(work: impl Loop) {
    work.run::<8>();
}

/// Applies a function to every value. A function of its own for each `f`, so that what is not called need not be
/// compiled by a browser.
#[inline(never)]
pub(crate) fn each(xs: &mut [f32], f: impl Fn(f32) -> f32) {
    run(Each { xs, f });
}

struct Each<'x, F> {
    xs: &'x mut [f32],
    f: F,
}

impl<F: Fn(f32) -> f32> Loop for Each<'_, F> {
    #[inline(always)]
    fn run<const LANES: usize>(self) {
        self.xs.iter_mut().for_each(|x| *x = (self.f)(*x));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::approx, *};

    /// Sums in order and a function, as they are in kernels.
    struct Work<'w>(&'w mut [f32]);

    impl Loop for Work<'_> {
        #[inline(always)]
        fn run<const LANES: usize>(self) {
            let mut sums = [1.0; 16];
            for xs in self.0.as_chunks_mut::<16>().0 {
                sums.iter_mut().zip(&*xs).for_each(|(sum, x)| *sum = *sum * 0.9 + x * x);
                xs.copy_from_slice(&sums.map(approx::exp_of));
            }
        }
    }

    #[test]
    fn every_kind_of_processor_gives_the_same_bits() {
        let xs: std::vec::Vec<f32> = (0..1600).map(|i| (i * 37 % 101) as f32 / 70.0).collect();
        let (mut narrow, mut wide) = (xs.clone(), xs);
        Work(&mut narrow).run::<4>();
        run(Work(&mut wide));
        assert!(narrow.iter().zip(&wide).all(|(a, b)| a.to_bits() == b.to_bits()));
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if std::arch::is_x86_feature_detected!("avx2") {
            let mut middle: std::vec::Vec<f32> = (0..1600).map(|i| (i * 37 % 101) as f32 / 70.0).collect();
            // SAFETY: the processor has AVX2.
            #[allow(unsafe_code)]
            unsafe {
                run_avx2(Work(&mut middle));
            }
            assert!(narrow.iter().zip(&middle).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}
