//! Inputs in common units: standard deviations from the mean of the rows that were learned from.

use super::Inputs;

/// Numbers farther from the mean than so many deviations count as this many, so that no single one decides.
const FARTHEST: f64 = 20.0;

/// Mean and deviation of each input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Units {
    mean: Vec<f64>,
    /// One over the deviation; 0 for an input that does not vary.
    scale: Vec<f64>,
}

impl Units {
    /// Those of the numbers that are there.
    pub(super) fn of(inputs: &Inputs) -> Self {
        let (mut mean, mut scale) = (Vec::new(), Vec::new());
        for input in 0..inputs.width() {
            let values = || inputs.column(input).filter(|x| !x.is_nan()).map(f64::from);
            let n = values().count().max(1) as f64;
            let middle = values().sum::<f64>() / n;
            let deviation = (values().map(|x| (x - middle).powi(2)).sum::<f64>() / n).sqrt();
            mean.push(middle);
            scale.push(if deviation > 0.0 { 1.0 / deviation } else { 0.0 });
        }
        Self { mean, scale }
    }

    /// Rows in these units, the mean in the place of what is missing.
    pub(super) fn apply(&self, inputs: &Inputs) -> Inputs {
        let units = self.mean.iter().zip(&self.scale).cycle();
        let unit = |(x, (mean, scale)): (&f32, (&f64, &f64))| match x.is_nan() {
            true => 0.0,
            false => ((f64::from(*x) - mean) * scale).clamp(-FARTHEST, FARTHEST) as f32,
        };
        Inputs { width: inputs.width, values: inputs.values.iter().zip(units).map(unit).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_centred_and_scaled_by_what_is_there() {
        // Of 1, 3 and nothing the mean is 2 and the deviation 1; 5 does not vary.
        let inputs = Inputs::new(2, vec![1.0, 5.0, 3.0, 5.0, f32::NAN, 5.0]).unwrap();
        let units = Units::of(&inputs);
        assert_eq!(units.apply(&inputs).values(), [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let far = Inputs::new(2, vec![1e30, 7.0]).unwrap();
        assert_eq!(units.apply(&far).values(), [20.0, 0.0]);
    }
}
