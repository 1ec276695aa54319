//! Is the lowered model still the model? tract, which shares no code with the compact engine, is the judge.

use anyhow::{Context, bail};
use prost::Message;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tiercast_core::Plan;
use tract_onnx::{
    pb::{ModelProto, NodeProto, tensor_shape_proto::dimension::Value as Dim, type_proto::Value as Type},
    prelude::*,
};

/// Rows that are compared; tract takes milliseconds a row on large ensembles of trees.
const ROWS: usize = 256;
/// Largest difference allowed between sums in different orders, relative to the value or to 1 if that is larger.
const TOLERANCE: f32 = 1e-4;

/// Compares plan and ONNX file on random and extreme rows; says so, or says why tract cannot.
///
/// # Errors
/// When they differ.
pub(super) fn against_tract(plan: &Plan, onnx: &[u8]) -> anyhow::Result<()> {
    let rows = rows(plan)?;
    let ours = run(plan, &rows)?;
    if runs_backwards(onnx) {
        say!(
            "not compared with tract, which gets recurrent layers wrong that run backwards; compare a few rows yourself"
        );
        return Ok(());
    }
    let theirs = match by_tract(plan, onnx, &rows) {
        Ok(theirs) => theirs,
        Err(error) => {
            let reason = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
            say!(
                "not compared with tract, which cannot run this model ({reason}); compare a few rows yourself"
            );
            return Ok(());
        }
    };
    let width = plan.outputs()[0].len().max(1);
    let away = |a: &f32, b: &f32| match (a.is_finite(), b.is_finite()) {
        (true, true) => (a - b).abs() / b.abs().max(1.0),
        // Beyond the range of 32-bit floats only the order of operations decides what is left.
        _ => 0.0,
    };
    let worst = ours
        .iter()
        .zip(&theirs)
        .map(|(a, b)| away(a, b))
        .enumerate()
        .fold((0, 0.0), |worst, (at, x)| if x > worst.1 { (at, x) } else { worst });
    if worst.1 > TOLERANCE || ours.len() != theirs.len() {
        let row = worst.0 / width;
        bail!(
            "the compact engine gives {:?} where tract gives {:?} (row {row} of the check); this is a defect of \
             tiercast: report it, and keep the ONNX file with --engine onnx",
            &ours[row * width..(row + 1) * width],
            theirs.get(row * width..(row + 1) * width).unwrap_or_default()
        );
    }
    say!("compared with tract on {ROWS} rows: at most {:.1e} apart", worst.1);
    Ok(())
}

/// Whether a recurrent layer reads its sequence from the end.
fn runs_backwards(onnx: &[u8]) -> bool {
    let graph = ModelProto::decode(onnx).ok().and_then(|model| model.graph).unwrap_or_default();
    let direction =
        |node: &NodeProto| node.attribute.iter().any(|a| a.name == "direction" && a.s != b"forward");
    graph.node.iter().any(direction)
}

/// How far two plans of one shape are apart on random rows.
pub(super) fn largest_difference(a: &Plan, b: &Plan) -> anyhow::Result<f32> {
    let rows = rows(a)?;
    Ok(crate::export::largest_difference(&run(a, &rows)?, &run(b, &rows)?))
}

fn run(plan: &Plan, rows: &[f32]) -> anyhow::Result<Vec<f32>> {
    let mut out = Vec::new();
    plan.run_rows(&mut plan.workspace(ROWS), rows, &mut out)?;
    Ok(out)
}

/// Mostly the sizes that inputs have, also none, huge and opposite ones; the same each time.
fn rows(plan: &Plan) -> anyhow::Result<Vec<f32>> {
    let [input] = plan.inputs() else {
        bail!("the model has {} inputs; a bundle's model has one", plan.inputs().len());
    };
    let mut random = StdRng::seed_from_u64(7);
    let mut rows = Vec::with_capacity(ROWS * input.len());
    for row in 0..ROWS {
        let scale = [1.0, 3.0, 100.0, 1e6, 0.0][row % 5];
        rows.extend((0..input.len()).map(|_| (random.random::<f32>() * 2.0 - 1.0) * scale));
    }
    Ok(rows)
}

fn by_tract(plan: &Plan, onnx: &[u8], rows: &[f32]) -> TractResult<Vec<f32>> {
    let proto = tract_onnx::onnx().proto_model_for_read(&mut &*onnx)?;
    let mut model = tract_onnx::onnx().model_for_proto_model(&proto)?;
    model.select_outputs_by_name([plan.outputs()[0].name.as_str()])?;
    let free = has_free_axis(&proto);
    let at_once = if free { ROWS } else { 1 };
    let mut shape: TVec<usize> = plan.inputs()[0].shape.iter().map(|n| *n as usize).collect();
    if free {
        shape.insert(0, at_once);
    }
    let runnable = model.with_input_fact(0, f32::fact(&*shape).into())?.into_optimized()?.into_runnable()?;
    let mut out = Vec::new();
    for block in rows.chunks(at_once * plan.inputs()[0].len()) {
        let input = Tensor::from_shape(&shape, block)?;
        let answer = runnable.run(tvec!(input.into_tvalue()))?;
        let answer = answer.first().context("no output")?.cast_to::<f32>()?.into_owned();
        out.extend_from_slice(answer.try_as_plain_ram()?.as_slice::<f32>()?);
    }
    Ok(out)
}

fn has_free_axis(proto: &ModelProto) -> bool {
    let dims = shape_of(proto);
    dims.first().is_some_and(Option::is_none)
}

/// The first input's axes; `None` where the length is free.
fn shape_of(proto: &ModelProto) -> Vec<Option<u32>> {
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
pub(super) fn flat_shapes(onnx: &[u8], output: &str) -> anyhow::Result<((String, u32), u32)> {
    let proto = ModelProto::decode(onnx).context("the file is not an ONNX model")?;
    let graph = proto.graph.as_ref().context("the file has no graph")?;
    let given = |name: &String| graph.initializer.iter().any(|tensor| &tensor.name == name);
    let input = graph.input.iter().find(|input| !given(&input.name)).context("the model has no input")?;
    let (None, Some(width), 2) = (
        shape_of(&proto).first().copied().flatten(),
        shape_of(&proto).get(1).copied().flatten(),
        shape_of(&proto).len(),
    ) else {
        bail!("input {:?} is not of shape [N, features]; only such models run as ONNX", input.name);
    };
    let mut model = tract_onnx::onnx().model_for_proto_model(&proto).map_err(|e| anyhow::anyhow!("{e:#}"))?;
    model.select_outputs_by_name([output]).map_err(|e| anyhow::anyhow!("{e:#}"))?;
    let runnable = model
        .with_input_fact(0, f32::fact([1, width as usize]).into())
        .and_then(|model| model.into_optimized())
        .and_then(|model| model.into_runnable())
        .map_err(|e| anyhow::anyhow!("tract cannot load the model either: {e:#}"))?;
    let row = Tensor::zero::<f32>(&[1, width as usize]).map_err(|e| anyhow::anyhow!("{e:#}"))?;
    let answer = runnable.run(tvec!(row.into_tvalue())).map_err(|e| anyhow::anyhow!("{e:#}"))?;
    Ok(((input.name.clone(), width), answer.first().map_or(0, |value| value.len()) as u32))
}
