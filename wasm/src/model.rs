//! A model on its own: numbers in, numbers out.

use tiercast_core as core;
use wasm_bindgen::prelude::*;

use crate::thrown::Thrown;

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
    #[wasm_bindgen(constructor)]
    pub fn new(bundle: &[u8]) -> Result<Self, Thrown> {
        let model = core::Model::load(bundle)?;
        let len = |shape: &[u32]| shape.iter().map(|n| *n as usize).product();
        let (inputs, outputs) = (len(&model.manifest().input_shape), len(&model.manifest().output_shape));
        Ok(Self {
            single: model.workspace(1),
            batch: None,
            input: vec![0.0; inputs],
            output: vec![0.0; outputs],
            model,
        })
    }

    /// What the bundle says of itself: JSON, for JavaScript to read.
    pub fn json(&self) -> String {
        self.model.manifest_json().into()
    }

    /// Where one row is written before [`Model::run`].
    pub fn input(&self) -> *const f32 {
        self.input.as_ptr()
    }

    /// Where its answer is after [`Model::run`].
    pub fn output(&self) -> *const f32 {
        self.output.as_ptr()
    }

    /// Runs the row.
    pub fn run(&mut self) -> Result<(), Thrown> {
        self.output.clear();
        Ok(self.model.run(&mut self.single, &self.input, &mut self.output)?)
    }

    /// The answers for many rows.
    #[wasm_bindgen(js_name = runBatch)]
    pub fn run_batch(&mut self, rows: &[f32]) -> Result<Vec<f32>, Thrown> {
        let mut out = Vec::new();
        let workspace = self.batch.get_or_insert_with(|| self.model.workspace(crate::BATCH_ROWS));
        self.model.run(workspace, rows, &mut out)?;
        Ok(out)
    }
}
