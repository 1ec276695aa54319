//! An imported model through tract, which may refuse it, fail or panic: each is an answer.

use std::{
    panic,
    sync::{Arc, Once},
    thread,
};

use anyhow::{Context, anyhow, bail};
use prost::Message;
use tiercast_core::Plan;
use tract_onnx::{
    pb::{ModelProto, tensor_shape_proto::dimension::Value as Dim, type_proto::Value as Type},
    prelude::*,
};

use super::verify::ROWS;

/// What threads are called in which tract may panic.
const THREAD: &str = "tract";

/// A model for as many rows at a time as are compared, or for one where its batch has a fixed length.
#[derive(Debug)]
pub(super) struct Tract {
    runnable: Arc<TypedRunnableModel>,
    shape: TVec<usize>,
}

impl Tract {
    /// Loads the model with the plan's output alone.
    pub(super) fn load(plan: &Plan, onnx: &[u8]) -> anyhow::Result<Self> {
        let proto = ModelProto::decode(onnx)?;
        let mut shape: TVec<usize> = plan.inputs()[0].shape.iter().map(|n| *n as usize).collect();
        if input_shape(&proto).first().is_some_and(Option::is_none) {
            shape.insert(0, ROWS);
        }
        let runnable = alone(|| runnable(&proto, &plan.outputs()[0].name, &shape))?;
        Ok(Self { runnable, shape })
    }

    /// The output for rows stored one after the other.
    pub(super) fn run(&self, rows: &[f32]) -> anyhow::Result<Vec<f32>> {
        let block = |block: &[f32]| -> TractResult<Vec<f32>> {
            let answer = self.runnable.run(tvec!(Tensor::from_shape(&self.shape, block)?.into_tvalue()))?;
            let answer = answer.first().context("no output")?.cast_to::<f32>()?.into_owned();
            Ok(answer.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        };
        alone(|| {
            let blocks = rows.chunks(self.shape.iter().product::<usize>().max(1)).map(block);
            Ok(blocks.collect::<TractResult<Vec<_>>>()?.concat())
        })
    }
}

fn runnable(proto: &ModelProto, output: &str, shape: &[usize]) -> TractResult<Arc<TypedRunnableModel>> {
    // Exporters write the lengths of inner values in letters, which are not ours.
    let tract = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    let mut model = tract.model_for_proto_model(proto)?;
    model.select_outputs_by_name([output])?;
    model.with_input_fact(0, f32::fact(shape).into())?.into_optimized()?.into_runnable()
}

/// Runs something in a thread of its own, whose panic is an error and prints nothing.
fn alone<T: Send>(work: impl FnOnce() -> TractResult<T> + Send) -> anyhow::Result<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() != Some(THREAD) {
                print(info);
            }
        }));
    });
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(THREAD.into()).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| anyhow!("it panics"))?.map_err(|error| anyhow!("{error:#}"))
    })
}

/// The first input's axes; `None` where the length is free.
fn input_shape(proto: &ModelProto) -> Vec<Option<u32>> {
    let Some(graph) = &proto.graph else { return Vec::new() };
    let given = |name: &String| graph.initializer.iter().any(|tensor| &tensor.name == name);
    let input = graph.input.iter().find(|input| !given(&input.name));
    let Some(Type::TensorType(tensor)) = input.and_then(|i| i.r#type.as_ref()).and_then(|t| t.value.as_ref())
    else {
        return Vec::new();
    };
    let length = |dim: &Option<Dim>| match dim {
        Some(Dim::DimValue(n)) if *n > 0 => Some(*n as u32),
        _ => None,
    };
    tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| length(&dim.value)).collect()
}

/// Name and width of the input, and width of an output, of a model whose rows are flat.
pub(super) fn flat_shapes(proto: &ModelProto, output: &str) -> anyhow::Result<((String, u32), u32)> {
    let graph = proto.graph.as_ref().context("the file has no graph")?;
    let given = |name: &String| graph.initializer.iter().any(|tensor| &tensor.name == name);
    let input = graph.input.iter().find(|input| !given(&input.name)).context("the model has no input")?;
    let &[None, Some(width)] = input_shape(proto).as_slice() else {
        bail!("input {:?} is not of shape [N, features]; only such models run as ONNX", input.name);
    };
    let outputs = alone(|| {
        let row = Tensor::zero::<f32>(&[1, width as usize])?.into_tvalue();
        let answer = runnable(proto, output, &[1, width as usize])?.run(tvec!(row))?;
        Ok(answer.first().map_or(0, |value| value.len()) as u32)
    });
    Ok(((input.name.clone(), width), outputs.context("tract cannot load the model")?))
}
