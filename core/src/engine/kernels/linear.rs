//! Linear models, whose scores are sums of few but often large products that nearly cancel: summed in 64 bits.

use super::product::PANEL;
use crate::{
    engine::{
        plan::{Check, Operand, size},
        run::Run,
    },
    error::{Result, bail},
};

/// `out = x · W + b` as of a dense kernel, for `repeat` rows of `inputs` values within each row.
///
/// Each output starts at its bias and adds the products, which 64 bits hold exactly, in the order of the inputs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    pub(crate) x: u32,
    pub(crate) out: u32,
    pub(crate) repeat: u32,
    pub(crate) inputs: u32,
    pub(crate) outputs: u32,
    /// Offset of the panels of a dense kernel.
    pub(crate) weights: u32,
    /// Offset of the biases, padded with zeros to a multiple of 8.
    pub(crate) bias: u32,
}

crate::wire::fields!(Linear { x, out, repeat, inputs, outputs, weights, bias });

impl Linear {
    pub(crate) fn check(&self, check: &mut Check<'_>) -> Result<u64> {
        if self.inputs == 0 || self.outputs == 0 {
            bail!(InvalidModel, "a linear kernel of the plan has no inputs or no outputs");
        }
        let padded = size("linear", &[self.outputs])?.next_multiple_of(PANEL);
        check.reads(Operand::Slot(self.x), size("linear", &[self.repeat, self.inputs])?)?;
        check.constants(self.weights, size("linear", &[self.inputs, padded as u32])?)?;
        check.constants(self.bias, padded)?;
        check.distinct(self.out, &[Operand::Slot(self.x)])?;
        check.writes(self.out, size("linear", &[self.repeat, self.outputs])?)?;
        Ok(u64::from(self.repeat).saturating_mul(u64::from(self.inputs) * padded as u64))
    }

    pub(crate) fn run(&self, run: &mut Run<'_>) {
        let mut out = run.take(self.out);
        let (inputs, outputs) = (self.inputs as usize, self.outputs as usize);
        let padded = outputs.next_multiple_of(PANEL);
        let weights: &[[f32; PANEL]] = run.constants(self.weights, inputs * padded).as_chunks().0;
        let bias: &[[f32; PANEL]] = run.constants(self.bias, padded).as_chunks().0;
        let rows = run.slot(self.x, self.repeat as usize * inputs).chunks_exact(inputs);
        for (xs, out) in rows.zip(out.chunks_exact_mut(outputs)) {
            let panels = weights.chunks_exact(inputs).zip(bias);
            for ((panel, bias), out) in panels.zip(out.chunks_mut(PANEL)) {
                let mut sums = bias.map(f64::from);
                for (x, weights) in xs.iter().zip(panel) {
                    let x = f64::from(*x);
                    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * f64::from(*weight));
                }
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32);
            }
        }
        run.put(self.out, out);
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::{
        super::{
            Kernel,
            product::pack,
            trial::{Trial, noise},
        },
        *,
    };

    fn trial(inputs: usize, outputs: usize, weights: &[f32]) -> (Linear, Trial) {
        let mut floats = pack(weights, inputs, outputs);
        let bias = floats.len() as u32;
        floats.extend((0..outputs).map(|i| i as f32));
        floats.resize(bias as usize + outputs.next_multiple_of(PANEL), 0.0);
        let [inputs, outputs] = [inputs, outputs].map(|n| n as u32);
        let linear = Linear { x: 0, out: 1, repeat: 2, inputs, outputs, weights: 0, bias };
        let kernel = Kernel::Linear(linear.clone());
        (linear, Trial { kernel, floats, fed: vec![2 * inputs], made: vec![2 * outputs] })
    }

    #[test]
    fn sums_are_those_of_64_bits() {
        for (inputs, outputs) in [(1, 1), (5, 3), (12, 8), (3, 17)] {
            let (weights, xs) = (noise(inputs * outputs), noise(6 * inputs));
            let (_, trial) = trial(inputs, outputs, &weights);
            let expected: Vec<f32> = xs
                .chunks(inputs)
                .flat_map(|xs| {
                    let weights = &weights;
                    (0..outputs).map(move |output| {
                        let column = weights.iter().skip(output).step_by(outputs);
                        let terms = xs.iter().zip(column).map(|(x, w)| f64::from(*x) * f64::from(*w));
                        terms.fold(output as f64, |sum, term| sum + term) as f32
                    })
                })
                .collect();
            assert_eq!(trial.run(3, &[&xs], 1), expected);
        }
        let (_, trial) = trial(3, 1, &[1e8, 1.0, -1e8]);
        assert_eq!(trial.run(1, &[&[1.0; 6]], 1), [1.0, 1.0]);
    }

    #[test]
    fn lengths_that_reach_out_of_bounds_are_refused() {
        let (linear, mut trial) = trial(3, 2, &noise(6));
        trial.plan().unwrap();
        let changes: [&dyn Fn(&mut Linear); 7] = [
            &|linear| linear.inputs = 0,
            &|linear| linear.inputs = 4,
            &|linear| linear.outputs = 9,
            &|linear| linear.weights = u32::MAX,
            &|linear| linear.bias += 1,
            &|linear| linear.repeat = u32::MAX,
            &|linear| linear.out = 0,
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut changed = linear.clone();
            change(&mut changed);
            trial.kernel = Kernel::Linear(changed);
            assert!(trial.plan().is_err(), "change {i}");
        }
    }
}
