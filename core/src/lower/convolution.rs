//! Convolution, pooling, and batch normalisation, over one or two axes.

use alloc::vec::Vec;

use super::{
    build::Lowering,
    elementwise::{binary, unary},
    node::Node,
    reduction::reduced,
    shape::to_dims,
    value::Value,
};
use crate::{
    engine::{BinaryOp, Conv, Function, Kernel, Pool, PoolKind, ReduceKind, Window},
    error::Result,
};

/// The largest length, stride, dilation or padding of an axis.
const MAX_LENGTH: i64 = 1 << 24;

/// The operator's outputs; `None` when it is of another family.
pub(super) fn lower(
    low: &mut Lowering,
    node: &Node<'_>,
    inputs: &[Option<Value>],
) -> Result<Option<Vec<Value>>> {
    let value = match node.operator() {
        "Conv" => convolution(low, node, inputs)?,
        "MaxPool" if node.gives(1) => {
            return Err(node.refuse("its second output, the places of the largest, is not supported"));
        }
        "MaxPool" => pool(low, node, inputs, true)?,
        "AveragePool" => pool(low, node, inputs, false)?,
        "GlobalAveragePool" => global(low, node, inputs, ReduceKind::Mean)?,
        "GlobalMaxPool" => global(low, node, inputs, ReduceKind::Max)?,
        "BatchNormalization" => batch_norm(low, node, inputs)?,
        _ => return Ok(None),
    };
    Ok(Some(alloc::vec![value]))
}

/// Images `[N, channels, …]`, where N is the batch or a number.
struct Images {
    images: usize,
    channels: usize,
    /// One or two lengths.
    axes: Vec<usize>,
}

impl Images {
    fn of(node: &Node<'_>, x: &Value) -> Result<Self> {
        let dims = to_dims(x);
        let (Some(first), Some(Some(channels))) = (dims.first(), dims.get(1)) else {
            return Err(node.invalid("its input is not [N, channels, …]"));
        };
        let axes: Option<Vec<usize>> = dims.iter().skip(2).copied().collect();
        let (Some(axes), 3 | 4) = (axes, dims.len()) else {
            return Err(node.refuse("it does not work along one or two axes of known length"));
        };
        Ok(Self { images: first.unwrap_or(1), channels: *channels, axes })
    }

    /// The result's shape and batch axis.
    fn shape(&self, x: &Value, channels: usize, window: &Window) -> (Vec<usize>, Option<usize>) {
        let mut shape = if x.batch.is_some() { Vec::new() } else { alloc::vec![self.images] };
        shape.push(channels);
        shape.extend(window.output.iter().skip(2 - self.axes.len()).map(|n| *n as usize));
        (shape, x.batch)
    }
}

/// The window, and how much padding is behind the image.
fn window(node: &Node<'_>, axes: &[usize], kernel: &[i64]) -> Result<(Window, [u32; 2])> {
    let rank = axes.len();
    if kernel.len() != rank {
        return Err(node.invalid("its window has another number of axes than its input"));
    }
    let list = |name: &str, count: usize, default: i64| match node.ints(name) {
        Some(list) if list.len() == count => Ok(list.to_vec()),
        Some([]) | None => Ok(alloc::vec![default; count]),
        Some(_) => Err(node.invalid(&alloc::format!("`{name}` has another number of axes than its input"))),
    };
    let (strides, dilations) = (list("strides", rank, 1)?, list("dilations", rank, 1)?);
    let pads = list("pads", 2 * rank, 0)?;
    let (befores, afters) = pads.split_at(rank);
    // One axis is the width of an image of height 1.
    let one = |n| [n; 2];
    let mut window = Window {
        input: one(1),
        output: one(1),
        kernel: one(1),
        stride: one(1),
        dilation: one(1),
        padding: one(0),
    };
    let mut behind = one(0);
    for (i, input) in axes.iter().enumerate() {
        let at = |list: &[i64]| list.get(i).copied().unwrap_or_default();
        let line = Line {
            input: *input as i64,
            kernel: at(kernel),
            stride: at(&strides),
            dilation: at(&dilations),
            pads: [at(befores), at(afters)],
        };
        let (output, [before, after]) = line.fit(node)?;
        let place = i + 2 - rank;
        let fields = [
            (&mut window.input, line.input),
            (&mut window.output, output),
            (&mut window.kernel, line.kernel),
            (&mut window.stride, line.stride),
            (&mut window.dilation, line.dilation),
            (&mut window.padding, before),
            (&mut behind, after),
        ];
        for (field, n) in fields {
            if let Some(field) = field.get_mut(place) {
                *field = n as u32;
            }
        }
    }
    Ok((window, behind))
}

/// A window along one axis.
struct Line {
    input: i64,
    kernel: i64,
    stride: i64,
    dilation: i64,
    pads: [i64; 2],
}

impl Line {
    /// How many places the window has, and the padding before and after.
    fn fit(&self, node: &Node<'_>) -> Result<(i64, [i64; 2])> {
        let [before, after] = self.pads;
        let sizes = [self.input, self.kernel, self.stride, self.dilation];
        if sizes.iter().any(|n| !(1..=MAX_LENGTH).contains(n))
            || [before, after].iter().any(|n| !(0..=MAX_LENGTH).contains(n))
        {
            return Err(node.refuse("a length, stride, dilation or padding is out of range"));
        }
        let span = (self.kernel - 1) * self.dilation + 1;
        if span > MAX_LENGTH {
            return Err(node.refuse("its window is too large"));
        }
        let auto = node.text("auto_pad", "NOTSET");
        match auto.as_str() {
            "SAME_UPPER" | "SAME_LOWER" => {
                let output = (self.input + self.stride - 1) / self.stride;
                let total = ((output - 1) * self.stride + span - self.input).max(0);
                let (less, more) = (total / 2, total - total / 2);
                Ok((output, if auto == "SAME_UPPER" { [less, more] } else { [more, less] }))
            }
            "VALID" => self.places(node, span, [0, 0]),
            "NOTSET" | "" => self.places(node, span, [before, after]),
            _ => Err(node.invalid("its `auto_pad` is unknown")),
        }
    }

    fn places(&self, node: &Node<'_>, span: i64, pads: [i64; 2]) -> Result<(i64, [i64; 2])> {
        let [before, after] = pads;
        let room = self.input + before + after - span;
        if room < 0 {
            return Err(node.invalid("its window is larger than its input"));
        }
        let mut output = room / self.stride + 1;
        // Rounded up, the last window must still begin within the image or the padding before it.
        if node.int("ceil_mode", 0) != 0
            && room % self.stride != 0
            && output * self.stride < self.input + before
        {
            output += 1;
        }
        Ok((output, pads))
    }
}

fn convolution(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let x = node.need(inputs, 0)?;
    let images = Images::of(node, x)?;
    let (shape, weights) = node.constant(inputs, 1)?;
    let (Some((&channels_out, rest)), groups) = (shape.split_first(), node.int("group", 1)) else {
        return Err(node.invalid("its weights have no axes"));
    };
    let (per_group, sides) = rest.split_first().unwrap_or((&0, &[]));
    let groups = usize::try_from(groups).unwrap_or_default();
    if groups.checked_mul(*per_group) != Some(images.channels)
        || groups == 0
        || channels_out == 0
        || !channels_out.is_multiple_of(groups)
        || weights.is_empty()
    {
        return Err(node.invalid("its weights do not fit its channels and groups"));
    }
    let kernel: Vec<i64> = sides.iter().map(|n| *n as i64).collect();
    if node.ints("kernel_shape").is_some_and(|shape| shape != kernel) {
        return Err(node.invalid("`kernel_shape` is not that of its weights"));
    }
    let (window, _) = window(node, &images.axes, &kernel)?;
    let bias = inputs.get(2).and_then(Option::as_ref);
    let (inside, after) = match bias.map(|bias| bias.constants()) {
        Some(Some(data)) if data.len() == channels_out => (data, None),
        Some(_) => (alloc::vec![0.0; channels_out], bias),
        None => (alloc::vec![0.0; channels_out], None),
    };
    let (out_shape, batch) = images.shape(x, channels_out, &window);
    let patch = weights.len() / channels_out;
    let from = low.slot_of(x)?;
    let (weights, bias) = (low.weights(&weights, patch)?, low.constant(&inside)?);
    let scratch = low.slot(16 * patch)?;
    let (out, result) = low.fresh(x.kind, out_shape, batch)?;
    low.kernel(Kernel::Conv(Conv {
        x: from,
        out,
        scratch,
        images: images.images as u32,
        channels_in: images.channels as u32,
        channels_out: channels_out as u32,
        groups: groups as u32,
        window,
        weights,
        bias,
        activation: None,
    }));
    match after {
        Some(bias) => {
            let bias = per_channel(node, bias, result.rank())?;
            binary(low, node, BinaryOp::Add, &result, &bias)
        }
        None => Ok(result),
    }
}

fn pool(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>], largest: bool) -> Result<Value> {
    let x = node.need(inputs, 0)?;
    let images = Images::of(node, x)?;
    let kernel = node.ints("kernel_shape").unwrap_or_default();
    let (window, after) = window(node, &images.axes, kernel)?;
    let kind = match (largest, node.int("count_include_pad", 0)) {
        (true, _) => PoolKind::Max,
        (false, 0) => PoolKind::Average,
        (false, _) => PoolKind::AveragePadded { after },
    };
    let (shape, batch) = images.shape(x, images.channels, &window);
    let from = low.slot_of(x)?;
    let (out, result) = low.fresh(x.kind, shape, batch)?;
    let channels = (images.images * images.channels) as u32;
    low.kernel(Kernel::Pool(Pool { x: from, out, channels, window, kind }));
    Ok(result)
}

fn global(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>], kind: ReduceKind) -> Result<Value> {
    let x = node.need(inputs, 0)?;
    let along: Vec<usize> = (2..x.rank()).collect();
    if along.is_empty() {
        return Err(node.invalid("its input is not [N, channels, …]"));
    }
    reduced(low, node, x, &along, kind, true)
}

/// One number for each channel, as a shape that lies along axis 1 of `rank`.
fn per_channel(node: &Node<'_>, value: &Value, rank: usize) -> Result<Value> {
    if value.batch.is_some() || value.rank() != 1 {
        return Err(node.invalid("it needs one number for each channel"));
    }
    let mut shape = value.shape.clone();
    shape.resize(rank.saturating_sub(1).max(1), 1);
    Ok(value.reshaped(shape, None))
}

/// `(x − mean) / √(variance + epsilon) · scale + bias`, which are one factor and one summand where they are constant.
fn batch_norm(low: &mut Lowering, node: &Node<'_>, inputs: &[Option<Value>]) -> Result<Value> {
    let x = node.need(inputs, 0)?;
    if node.int("training_mode", 0) != 0 || node.int("spatial", 1) == 0 {
        return Err(node.refuse("it normalises as in training; export the model for inference"));
    }
    let epsilon = node.float("epsilon", 1e-5);
    let mut parts = Vec::new();
    for at in 1..5 {
        parts.push(per_channel(node, node.need(inputs, at)?, x.rank())?);
    }
    let [scale, bias, mean, variance] = &*parts else { return Err(node.invalid("an input is missing")) };
    if let [Some(s), Some(b), Some(m), Some(v)] = [scale, bias, mean, variance].map(Value::constants) {
        let factors: Vec<f64> = s
            .iter()
            .zip(&v)
            .map(|(s, v)| f64::from(*s) / libm::sqrt(f64::from(*v) + f64::from(epsilon)))
            .collect();
        let summands = b.iter().zip(&m).zip(&factors);
        let summands = summands.map(|((b, m), f)| (f64::from(*b) - f64::from(*m) * f) as f32).collect();
        let factors = Value::floats(scale.shape.clone(), factors.iter().map(|f| *f as f32).collect());
        let summands = Value::floats(scale.shape.clone(), summands);
        if factors.len() != factors.constants().map_or(0, |f| f.len())
            || summands.len() != summands.constants().map_or(0, |s| s.len())
        {
            return Err(node.invalid("it needs one number for each channel"));
        }
        let scaled = binary(low, node, BinaryOp::Mul, x, &factors)?;
        return binary(low, node, BinaryOp::Add, &scaled, &summands);
    }
    let epsilon = Value::floats(Vec::new(), alloc::vec![epsilon]);
    let variance = binary(low, node, BinaryOp::Add, variance, &epsilon)?;
    let deviation = unary(low, Function::Sqrt, &variance)?;
    let centred = binary(low, node, BinaryOp::Sub, x, mean)?;
    let normal = binary(low, node, BinaryOp::Div, &centred, &deviation)?;
    let scaled = binary(low, node, BinaryOp::Mul, &normal, scale)?;
    binary(low, node, BinaryOp::Add, &scaled, bias)
}
