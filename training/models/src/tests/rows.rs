//! Rows whose answer is known; the tests of the crate above use them too.

use super::{Rows, mix};

/// Rows of two inputs, dense and plain alike, whose tier follows from the first one up to noise, two rows a member.
pub(crate) fn ladder(n: usize, tiers: usize) -> Rows {
    let mut rows = Rows { width: 2, plain_width: 2, steps: 4, channels: 2, ..Rows::default() };
    for i in 0..n {
        let noise = |salt: u64| (mix(i as u64 * 3 + salt) >> 11) as f64 / (1_u64 << 53) as f64;
        let level = noise(0) * tiers as f64;
        let blurred = (level + (noise(1) - 0.5) * 0.6).clamp(0.0, tiers as f64 - 1e-9);
        rows.inputs.extend([level as f32 - tiers as f32 / 2.0, noise(2) as f32 - 0.5]);
        rows.current_spend.push((level * 1000.0) as i64);
        rows.targets.push(blurred as u8 + 1);
        rows.target_spend.push((blurred * 1000.0) as i64);
        rows.member.push(i as u32 / 2);
        rows.next_purchase.push(if noise(4) < 0.3 { f32::NAN } else { (noise(5) * 30.0) as f32 });
        (0..rows.steps)
            .for_each(|step| rows.sequence.extend([f32::from(u8::from(step == 0)), level as f32 - 1.0]));
    }
    rows.plain = rows.inputs.clone();
    rows.thresholds = (0..tiers as i64).map(|tier| tier * 1000).collect();
    rows
}

/// Two dense inputs that say nothing, and eight steps of two numbers: how many of the last three steps are above 0 decides
/// the tier, whether the last one is decides if there is a next purchase. A third of the members have fewer steps.
pub(crate) fn members(n: usize) -> Rows {
    const STEPS: usize = 8;
    let mut rows = Rows { width: 2, plain_width: 2, steps: STEPS, channels: 3, ..Rows::default() };
    let noise = |at: u64| (mix(at) >> 11) as f32 / (1_u64 << 53) as f32 - 0.5;
    for i in 0..n {
        let seed = i as u64 * 100;
        let empty = if i % 3 == 0 { i % 6 } else { 0 };
        let values: Vec<f32> = (0..STEPS).map(|step| noise(seed + step as u64)).collect();
        for (step, value) in values.iter().enumerate() {
            let is_empty = step < empty;
            let numbers =
                if is_empty { [1.0, 0.0, 0.0] } else { [0.0, value * 4.0, noise(seed + 50 + step as u64)] };
            rows.sequence.extend(numbers);
        }
        let above = values[STEPS - 3..].iter().filter(|value| **value > 0.0).count();
        rows.targets.push(above.min(2) as u8 + 1);
        rows.next_purchase.push(if values[STEPS - 1] > 0.0 {
            5.0 + 20.0 * noise(seed + 90).abs()
        } else {
            f32::NAN
        });
        rows.inputs.extend([noise(seed + 91), noise(seed + 92)]);
        rows.current_spend.push(above as i64);
        rows.target_spend.push(above as i64);
        rows.member.push(i as u32);
    }
    rows.plain = rows.inputs.clone();
    rows.thresholds = vec![0, 1, 2];
    rows
}
