//! The engine under test and the second opinions, each asked the same question.

use std::{
    fs,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
};

use prost::Message;
use tiercast_core::{Error, ErrorKind, LowerOptions, Plan, Port, lower};
use tract_onnx::{
    data_resolver::MmapDataResolver,
    pb::{ModelProto, TensorProto},
    prelude::*,
    tensor::load_tensor,
};

use crate::{case, tensor::Tensor};

/// What an engine says to a model and its inputs.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The outputs: their shapes and values.
    Outputs(Vec<Output>),
    /// It says that it does not do this.
    Refused(String),
    /// It says that the model contradicts itself.
    Contradicts(String),
    /// It failed in a way that it should not.
    Broken(String),
}

/// One output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl From<Tensor> for Output {
    fn from(tensor: Tensor) -> Self {
        Self { shape: tensor.shape, values: tensor.values }
    }
}

/// Asks the compact engine for these outputs, or for all if there are none. `rows` is 1 where the model has no axis of
/// free length.
pub(crate) fn ours(model: &ModelProto, inputs: &[TensorProto], rows: usize, outputs: &[&str]) -> Answer {
    guarded(|| {
        // Through its bytes, as a bundle holds it.
        let lowered = lower(&model.encode_to_vec(), &LowerOptions { outputs, ..LowerOptions::default() });
        let plan = match lowered.map(|plan| Plan::read(&plan.write())) {
            Ok(Ok(plan)) => plan,
            Ok(Err(error)) => return Answer::Broken(format!("its own plan is refused: {error}")),
            Err(error) if error.kind() == ErrorKind::UnsupportedModel => {
                return Answer::Refused(error.message().to_owned());
            }
            Err(error) if error.kind() == ErrorKind::InvalidModel => {
                return Answer::Contradicts(error.message().to_owned());
            }
            Err(error) => return Answer::Broken(error.to_string()),
        };
        let mut fed = Vec::new();
        for port in plan.inputs() {
            match inputs.iter().find(|tensor| tensor.name == port.name).map(Tensor::decode) {
                Some(Ok(tensor)) => match in_rows(&tensor, port, rows) {
                    Ok(values) => fed.push(values),
                    Err(answer) => return answer,
                },
                other => return Answer::Broken(format!("input {:?} is {other:?}", port.name)),
            }
        }
        match run(&plan, &fed, rows, rows)
            .and_then(|outputs| Ok((outputs, run(&plan, &fed, rows.min(SINGLE), 1)?)))
        {
            Ok((batch, single)) if !starts_with(&batch, &single) => {
                Answer::Broken("a row alone has other bits than in a batch".into())
            }
            Ok((batch, _)) => Answer::Outputs(batch),
            Err(error) => Answer::Broken(error.to_string()),
        }
    })
}

/// The values of an input for that many rows: a row each, or all of them in every row where it has no axis of rows.
fn in_rows(tensor: &Tensor, port: &Port, rows: usize) -> Result<Vec<f32>, Answer> {
    let inexact = || Answer::Refused("its inputs hold integers that are not exact in 32-bit floats".into());
    let values = tensor.floats().ok_or_else(inexact)?;
    let whole: Vec<usize> = port.shape.iter().map(|n| *n as usize).collect();
    if tensor.shape == whole {
        Ok(values.repeat(rows))
    } else if values.len() == port.len() * rows {
        Ok(values)
    } else {
        let (name, shape) = (&port.name, &tensor.shape);
        Err(Answer::Broken(format!("input {name:?} of shape {shape:?} is no {rows} rows of {whole:?}")))
    }
}

/// How many rows are also run alone.
const SINGLE: usize = 200;

fn starts_with(batch: &[Output], single: &[Output]) -> bool {
    let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    batch
        .iter()
        .zip(single)
        .all(|(b, s)| b.values.get(..s.values.len()).is_some_and(|b| bits(b) == bits(&s.values)))
}

/// Runs the first `rows` rows, in blocks as large as the workspace and `block` allow.
fn run(plan: &Plan, fed: &[Vec<f32>], rows: usize, block: usize) -> Result<Vec<Output>, Error> {
    let mut workspace = plan.workspace(block);
    let shape = |shape: &[u32]| shape.iter().map(|n| *n as usize).collect();
    let empty = |port: &Port| Output { shape: shape(&port.shape), values: Vec::new() };
    let mut outputs: Vec<Output> = plan.outputs().iter().map(empty).collect();
    for start in (0..rows).step_by(workspace.rows()) {
        let count = workspace.rows().min(rows - start);
        for (i, (values, port)) in fed.iter().zip(plan.inputs()).enumerate() {
            let rows = &values[start * port.len()..(start + count) * port.len()];
            plan.input(&mut workspace, i, count).copy_from_slice(rows);
        }
        plan.run(&mut workspace, count)?;
        for (i, output) in outputs.iter_mut().enumerate() {
            output.values.extend(plan.output(&workspace, i, count).iter().map(|x| f64::from(*x)));
        }
    }
    Ok(outputs)
}

/// Asks tract, which may optimise.
pub(crate) fn tract(model: &ModelProto, inputs: &[TensorProto]) -> Answer {
    guarded(|| match tract_outputs(model, inputs) {
        Ok(outputs) => Answer::Outputs(outputs),
        Err(error) => Answer::Refused(format!("{error:#}")),
    })
}

fn tract_outputs(model: &ModelProto, inputs: &[TensorProto]) -> TractResult<Vec<Output>> {
    let onnx = tract_onnx::onnx();
    let load = |proto: &TensorProto| load_tensor(&MmapDataResolver, proto, None);
    let fed: Vec<tract_onnx::prelude::Tensor> = inputs.iter().map(load).collect::<TractResult<_>>()?;
    let mut parsed = onnx.model_for_proto_model(model)?;
    for (i, tensor) in fed.iter().enumerate() {
        let fact = InferenceFact::dt_shape(tensor.datum_type(), tensor.shape().to_vec());
        parsed.set_input_fact(i, fact)?;
    }
    let plan = parsed.into_optimized()?.into_runnable()?;
    let outputs = plan.run(fed.into_iter().map(IntoTValue::into_tvalue).collect())?;
    outputs
        .iter()
        .map(|output| {
            let wide = output.cast_to::<f64>()?;
            let values = wide.try_as_plain_ram()?.as_slice::<f64>()?.to_vec();
            Ok(Output { shape: output.shape().to_vec(), values })
        })
        .collect()
}

/// What onnxruntime answered, as `cases.py` wrote it.
pub(crate) fn onnxruntime(folder: &Path) -> Answer {
    if let Ok(reason) = fs::read_to_string(folder.join("onnxruntime.txt")) {
        return Answer::Refused(reason);
    }
    match case::numbered(folder, "onnxruntime").and_then(|tensors| case::decoded(&tensors)) {
        Ok(outputs) => Answer::Outputs(outputs.into_iter().map(Output::from).collect()),
        // A type that is not read here, such as floats of 8 bits.
        Err(error) => Answer::Refused(format!("{error:#}")),
    }
}

/// A panic is an answer too: a broken one, of which nothing is printed.
fn guarded(ask: impl FnOnce() -> Answer) -> Answer {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let answer = catch_unwind(AssertUnwindSafe(ask));
    panic::set_hook(hook);
    answer.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        Answer::Broken(format!("panic: {text}"))
    })
}
