//! Runs one kernel by itself, for the tests of kernels.

use alloc::{string::String, vec, vec::Vec};

use super::Kernel;
use crate::{
    engine::plan::{Plan, Port, Program},
    error::Result,
};

/// A kernel, its constants, and the lengths of its buffers: first those that are fed, then the others.
pub(super) struct Trial {
    pub(super) kernel: Kernel,
    pub(super) floats: Vec<f32>,
    pub(super) fed: Vec<u32>,
    pub(super) made: Vec<u32>,
}

impl Trial {
    /// The plan, if it passes its checks.
    pub(super) fn plan(&self) -> Result<Plan> {
        let port =
            |(slot, len): (usize, &u32)| Port { name: String::new(), shape: vec![*len], slot: slot as u32 };
        let slots: Vec<u32> = self.fed.iter().chain(&self.made).copied().collect();
        let inputs = slots.iter().enumerate().take(self.fed.len()).map(port).collect();
        let outputs = Vec::new();
        let kernels = vec![self.kernel.clone()];
        let program = Program { inputs, outputs, slots, kernels, segments: Vec::new(), words: 0 };
        let plan = Plan { program, floats: self.floats.as_slice().into(), words: Vec::new() };
        plan.check()?;
        Ok(plan)
    }

    /// Runs rows (for each fed buffer, all its rows) and gives one buffer's content. Each row alone must have the
    /// same bits.
    pub(super) fn run(&self, rows: usize, fed: &[&[f32]], slot: u32) -> Vec<f32> {
        let mut plan = self.plan().unwrap();
        let len = plan.program.slots[slot as usize];
        plan.program.outputs = vec![Port { name: String::new(), shape: vec![len], slot }];
        let block = |from: usize, rows: usize| {
            let mut workspace = plan.workspace(rows);
            assert!(workspace.rows() >= rows);
            for (i, (values, len)) in fed.iter().zip(&self.fed).enumerate() {
                let width = *len as usize;
                plan.input(&mut workspace, i, rows)
                    .copy_from_slice(&values[from * width..(from + rows) * width]);
            }
            plan.run(&mut workspace, rows).unwrap();
            plan.output(&workspace, 0, rows).to_vec()
        };
        let together = block(0, rows);
        let alone: Vec<f32> = (0..rows).flat_map(|row| block(row, 1)).collect();
        assert_eq!(bits(&together), bits(&alone));
        together
    }
}

/// So that NaN and the sign of 0 count.
pub(super) fn bits(xs: &[f32]) -> Vec<u32> {
    xs.iter().map(|x| x.to_bits()).collect()
}

/// Numbers in [-4, 4) that look random.
pub(super) fn noise(n: usize) -> Vec<f32> {
    let mut state = 12_345_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 2_097_152.0 - 4.0
    };
    (0..n).map(|_| next()).collect()
}
