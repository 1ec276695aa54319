//! A model on its own: numbers in, numbers out.

use tiercast_core as core;
use wasm_bindgen::prelude::*;

use crate::left::{self, done};

/// A loaded model, and the room that it runs in.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Model {
    model: core::Model,
    single: core::Workspace,
    /// Made when many rows are run for the first time.
    batch: Option<core::Workspace>,
    input: Vec<f32>,
    /// Never grows beyond one row, so that it stays where it is.
    output: Vec<f32>,
}

#[wasm_bindgen]
impl Model {
    /// Loads a bundle's bytes.
    pub fn load(bundle: &[u8]) -> Option<Self> {
        let model = done(core::Model::load(bundle))?;
        let input = vec![0.0; len(&model.manifest().input_shape)];
        let output = vec![0.0; len(&model.manifest().output_shape)];
        Some(Self { single: model.workspace(1), batch: None, input, output, model })
    }

    /// Leaves what the bundle says of itself: JSON, for JavaScript to read.
    pub fn json(&self) {
        left::text(self.model.manifest_json());
    }

    /// Where one row is written before [`Model::run`].
    pub fn input(&self) -> *const f32 {
        self.input.as_ptr()
    }

    /// How many numbers it has.
    #[wasm_bindgen(js_name = inputLength)]
    pub fn input_length(&self) -> usize {
        self.input.len()
    }

    /// Where its answer is after [`Model::run`].
    pub fn output(&self) -> *const f32 {
        self.output.as_ptr()
    }

    /// How many numbers it has.
    #[wasm_bindgen(js_name = outputLength)]
    pub fn output_length(&self) -> usize {
        len(&self.model.manifest().output_shape)
    }

    /// Runs the row.
    pub fn run(&mut self) -> bool {
        self.output.clear();
        done(self.model.run(&mut self.single, &self.input, &mut self.output)).is_some()
    }

    /// Leaves the answers for many rows.
    #[wasm_bindgen(js_name = runBatch)]
    pub fn run_batch(&mut self, rows: &[f32]) -> bool {
        let mut out = Vec::new();
        let workspace = self.batch.get_or_insert_with(|| self.model.workspace(crate::BATCH_ROWS));
        done(self.model.run(workspace, rows, &mut out)).map(|()| left::numbers(out)).is_some()
    }
}

/// How many numbers a row of this shape has.
fn len(shape: &[u32]) -> usize {
    shape.iter().map(|n| *n as usize).product()
}
