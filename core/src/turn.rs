//! Sine and cosine within one turn, with the bits that libm gives there.
//!
//! libm's own reduce arguments of any size, for which they carry a table of 2,760 bytes of 2/π: a twentieth of what a page
//! downloads. The formulas ask only for 0 ≤ x ≤ 2π. Method and coefficients are FreeBSD's msun (Sun Microsystems, 1993:
//! `e_rem_pio2.c`, `k_sin.c`, `k_cos.c`), as in libm.

// The digits are those of the original, more than a double needs.
#![allow(clippy::excessive_precision)]

/// The first 33 bits of π/2, what they leave, the next 33 bits, what these leave, and once more.
const PARTS: [f64; 6] = [
    1.570_796_326_734_125_614_17,
    6.077_100_506_506_192_249_32e-11,
    6.077_100_506_303_965_976_60e-11,
    2.022_266_248_795_950_631_54e-21,
    2.022_266_248_711_166_455_80e-21,
    8.478_427_660_368_899_569_97e-32,
];

/// sin x for 0 ≤ x ≤ 2π.
pub(crate) fn sin(x: f64) -> f64 {
    let (quadrant, y, tail) = reduce(x);
    match quadrant & 3 {
        0 => kernel_sin(y, tail),
        1 => kernel_cos(y, tail),
        2 => -kernel_sin(y, tail),
        _ => -kernel_cos(y, tail),
    }
}

/// cos x for 0 ≤ x ≤ 2π.
pub(crate) fn cos(x: f64) -> f64 {
    let (quadrant, y, tail) = reduce(x);
    match quadrant & 3 {
        0 => kernel_cos(y, tail),
        1 => -kernel_sin(y, tail),
        2 => -kernel_cos(y, tail),
        _ => kernel_sin(y, tail),
    }
}

/// The nearest multiple of π/2, and the distance from it in two parts.
fn reduce(x: f64) -> (u32, f64, f64) {
    // libm chooses the multiple by the upper half of the number, so that is where its bits change.
    let upper = (x.to_bits() >> 32) as u32;
    let quadrant = match upper {
        0..=0x3fe9_21fb => return (0, x, 0.0),
        0x3fe9_21fc..=0x4002_d97c => 1,
        0x4002_d97d..=0x400f_6a7a => 2,
        0x400f_6a7b..=0x4015_fdbc => 3,
        _ => 4,
    };
    let [head, rest, second, second_rest, third, third_rest] = PARTS;
    let n = f64::from(quadrant);
    let exponent = |y: f64| (y.to_bits() >> 52) as i32 & 0x7ff;
    let lost = |y: f64| exponent(x) - exponent(y);
    let (mut r, mut w) = (x - n * head, n * rest);
    // Close to the multiple the difference cancels: then more bits of π/2 are needed, and libm takes them when the
    // upper halves are equal.
    let close = matches!(upper, 0x3ff9_21fb | 0x4009_21fb | 0x4012_d97c | 0x4019_21fb);
    for (bits, part, part_rest) in [(16, second, second_rest), (49, third, third_rest)] {
        if !close || lost(r - w) <= bits {
            break;
        }
        let before = r;
        w = n * part;
        r = before - w;
        w = n * part_rest - ((before - r) - w);
    }
    let y = r - w;
    (quadrant, y, (r - y) - w)
}

/// sin(y + tail) for |y| ≤ π/4.
fn kernel_sin(y: f64, tail: f64) -> f64 {
    const S: [f64; 6] = [
        -1.666_666_666_666_663_243_48e-1,
        8.333_333_333_322_489_461_24e-3,
        -1.984_126_982_985_794_931_34e-4,
        2.755_731_370_707_006_767_89e-6,
        -2.505_076_025_340_686_341_95e-8,
        1.589_690_995_211_550_102_21e-10,
    ];
    let z = y * y;
    let w = z * z;
    let r = S[1] + z * (S[2] + z * S[3]) + z * w * (S[4] + z * S[5]);
    let v = z * y;
    if tail == 0.0 { y + v * (S[0] + z * r) } else { y - ((z * (0.5 * tail - v * r) - tail) - v * S[0]) }
}

/// cos(y + tail) for |y| ≤ π/4.
fn kernel_cos(y: f64, tail: f64) -> f64 {
    const C: [f64; 6] = [
        4.166_666_666_666_660_190_37e-2,
        -1.388_888_888_887_410_957_49e-3,
        2.480_158_728_947_672_941_78e-5,
        -2.755_731_435_139_066_330_35e-7,
        2.087_572_321_298_174_827_90e-9,
        -1.135_964_755_778_819_482_65e-11,
    ];
    let z = y * y;
    let w = z * z;
    let r = z * (C[0] + z * (C[1] + z * C[2])) + w * w * (C[3] + z * (C[4] + z * C[5]));
    let half = 0.5 * z;
    let w = 1.0 - half;
    w + (((1.0 - w) - half) + (z * r - y * tail))
}

#[cfg(test)]
mod tests {
    use core::f64::consts::{FRAC_PI_4, TAU};

    #[test]
    fn within_a_turn_the_bits_are_libms() {
        let check = |x: f64| {
            assert_eq!(super::sin(x).to_bits(), libm::sin(x).to_bits(), "sin {x:e}");
            assert_eq!(super::cos(x).to_bits(), libm::cos(x).to_bits(), "cos {x:e}");
        };
        for i in 0..=2_000_000 {
            check(TAU * (f64::from(i) / 2_000_000.0));
        }
        // Around every multiple of π/4, and where the upper half of the number changes.
        let edges =
            [0x3fe9_21fb_u64, 0x4002_d97c, 0x400f_6a7a, 0x4015_fdbc, 0x3e50_0000, 0x3e46_a09e, 1 << 20];
        let words = edges.map(|upper| upper << 32);
        let multiples = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0].map(|n| (n * FRAC_PI_4).to_bits());
        for center in multiples.into_iter().chain(words) {
            for step in 0..20_000_u64 {
                for bits in [center.saturating_sub(step), center + step, center + (step << 20)] {
                    let x = f64::from_bits(bits);
                    if (0.0..=TAU).contains(&x) {
                        check(x);
                    }
                }
            }
        }
    }
}
