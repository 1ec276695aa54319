//! How a plan's constants are stored, and the plan as bytes.

use alloc::vec::Vec;

use crate::{
    engine::{Plan, Segment, Storage},
    wire,
};

/// Chooses the storage of the weights and rounds them to what it holds, so that the plan in hand is the plan that a
/// reader gets. `weights` are offset, length and panel length of those that may be stored in fewer bits; biases,
/// thresholds and everything else stay 32-bit floats.
pub(super) fn store(plan: &mut Plan, weights: &[[u32; 3]], storage: Storage) {
    let mut segments = Vec::new();
    let mut at = 0;
    let exact = |count: u32| Segment { count, storage: Storage::F32, scale: 1.0 };
    for &[from, len, panel] in weights.iter().filter(|[_, len, _]| storage != Storage::F32 && *len > 0) {
        segments.extend((from > at).then(|| exact(from - at)));
        for start in (from..from + len).step_by(panel.max(1) as usize) {
            let count = panel.min(from + len - start);
            let values = &mut plan.floats[start as usize..(start + count) as usize];
            // Neither half precision nor integers hold what is not finite.
            let storage = if values.iter().all(|x| x.is_finite()) { storage } else { Storage::F32 };
            segments.push(Segment { count, storage, scale: round(values, storage) });
        }
        at = from + len;
    }
    let rest = plan.floats.len() as u32 - at;
    segments.extend((rest > 0).then(|| exact(rest)));
    plan.program.segments = segments;
}

/// Rounds values to what the storage holds; returns the scale.
fn round(values: &mut [f32], storage: Storage) -> f32 {
    let scale = match storage {
        Storage::I8 => values.iter().fold(0.0_f32, |max, x| max.max(x.abs())) / 127.0,
        _ => 1.0,
    };
    for x in values {
        *x = match storage {
            Storage::F32 => *x,
            Storage::F16 => crate::engine::from_half(to_half(*x)),
            Storage::I8 => f32::from(to_i8(*x, scale)) * scale,
        };
    }
    scale
}

fn to_i8(x: f32, scale: f32) -> i8 {
    // A cast saturates, and takes 0 / 0 to 0.
    libm::rintf(x / scale) as i8
}

/// Binary16 nearest to `x`, ties to even; too large a number becomes the largest.
fn to_half(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16 & 0x8000) as u16;
    let magnitude = x.abs().min(65504.0);
    if magnitude < f32::from_bits(113 << 23) {
        // Subnormal: steps of 2⁻²⁴.
        return sign | libm::rintf(magnitude * 16_777_216.0) as u16;
    }
    let bits = magnitude.to_bits();
    let rounded = bits + 0xfff + (bits >> 13 & 1);
    sign | ((rounded >> 13) - (112 << 10)) as u16
}

impl Plan {
    /// The plan as bytes, which [`Plan::read`] reads.
    pub fn write(&self) -> Vec<u8> {
        let program = wire::to_bytes(&self.program);
        let mut bytes = Vec::from(crate::engine::VERSION.to_le_bytes());
        bytes.extend((program.len() as u32).to_le_bytes());
        bytes.extend(program);
        let mut rest = &*self.floats;
        for segment in &self.program.segments {
            let (here, after) = rest.split_at(segment.count as usize);
            rest = after;
            match segment.storage {
                Storage::F32 => bytes.extend(here.iter().flat_map(|x| x.to_le_bytes())),
                Storage::F16 => bytes.extend(here.iter().flat_map(|x| to_half(*x).to_le_bytes())),
                Storage::I8 => bytes.extend(here.iter().map(|x| to_i8(*x, segment.scale) as u8)),
            }
        }
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::from_half;

    #[test]
    fn half_precision_rounds_to_nearest_and_comes_back() {
        for half in 0..0x7c00_u16 {
            assert_eq!(to_half(from_half(half)), half);
            assert_eq!(to_half(-from_half(half)), half | 0x8000);
        }
        assert_eq!(from_half(to_half(1.0 + 1.0 / 2048.0)), 1.0);
        assert_eq!(from_half(to_half(1.0 + 3.0 / 2048.0)), 1.0 + 2.0 / 1024.0);
        assert_eq!(from_half(to_half(1e9)), 65504.0);
    }

    #[test]
    fn stored_weights_are_those_that_run() {
        for (storage, most) in [(Storage::F32, 0.0), (Storage::F16, 5e-4), (Storage::I8, 4e-3)] {
            let floats: Vec<f32> = (0..40).map(|i| (i as f32 - 17.0) / 23.0).collect();
            let mut plan =
                Plan { program: Default::default(), floats: floats.as_slice().into(), words: alloc::vec![7] };
            plan.program.words = 1;
            let before = plan.floats.clone();
            store(&mut plan, &[[4, 32, 16]], storage);
            let read = Plan::read(&plan.write()).unwrap();
            assert_eq!(read.floats, plan.floats);
            assert_eq!(read.words, [7]);
            let error = before.iter().zip(&*read.floats).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error <= most, "{storage:?}: {error}");
            assert_eq!(before[36..], read.floats[36..]);
        }
    }
}
