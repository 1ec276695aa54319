//! The operators that the compact engine claims, once, as data.

/// How near an operator's results must be to ONNX's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    /// One rounding or none: the same number.
    Exact,
    /// Sums and transcendental functions, whose last bits depend on the order and the polynomial.
    Close,
}

use Nearness::{Close, Exact};

/// ONNX's domain of classical models.
pub(crate) const ML: &str = "ai.onnx.ml";

/// Domain, operator, nearness.
pub(crate) const OPERATORS: [(&str, &str, Nearness); 69] = [
    ("", "Add", Exact),
    ("", "ArgMax", Exact),
    ("", "AveragePool", Close),
    ("", "BatchNormalization", Close),
    ("", "Cast", Exact),
    ("", "Clip", Exact),
    ("", "Concat", Exact),
    ("", "Conv", Close),
    ("", "Div", Exact),
    ("", "Dropout", Exact),
    ("", "Equal", Exact),
    ("", "Erf", Close),
    ("", "Exp", Close),
    ("", "Flatten", Exact),
    ("", "GRU", Close),
    ("", "Gather", Exact),
    ("", "Gelu", Close),
    ("", "Gemm", Close),
    ("", "GlobalAveragePool", Close),
    ("", "GlobalMaxPool", Exact),
    ("", "Greater", Exact),
    ("", "GreaterOrEqual", Exact),
    ("", "Identity", Exact),
    ("", "LSTM", Close),
    ("", "LayerNormalization", Close),
    ("", "LeakyRelu", Exact),
    ("", "Less", Exact),
    ("", "LessOrEqual", Exact),
    ("", "Log", Close),
    ("", "LogSoftmax", Close),
    ("", "MatMul", Close),
    ("", "Max", Exact),
    ("", "MaxPool", Exact),
    ("", "Min", Exact),
    ("", "Mul", Exact),
    ("", "Pow", Close),
    ("", "ReduceMax", Exact),
    ("", "ReduceMean", Close),
    ("", "ReduceSum", Close),
    ("", "Relu", Exact),
    ("", "Reshape", Exact),
    ("", "Sigmoid", Close),
    ("", "Slice", Exact),
    ("", "Softmax", Close),
    ("", "Sqrt", Exact),
    ("", "Squeeze", Exact),
    ("", "Sub", Exact),
    ("", "Tanh", Close),
    ("", "TopK", Exact),
    ("", "Transpose", Exact),
    ("", "Unsqueeze", Exact),
    ("", "Where", Exact),
    (ML, "Imputer", Exact),
    (ML, "LinearClassifier", Close),
    (ML, "LinearRegressor", Close),
    (ML, "Normalizer", Close),
    (ML, "OneHotEncoder", Exact),
    (ML, "SVMClassifier", Close),
    (ML, "SVMRegressor", Close),
    (ML, "Scaler", Exact),
    (ML, "TreeEnsemble", Close),
    (ML, "TreeEnsembleClassifier", Close),
    (ML, "TreeEnsembleRegressor", Close),
    (ML, "ZipMap", Exact),
    // What exporters write around the others.
    ("", "Constant", Exact),
    ("", "ConstantOfShape", Exact),
    ("", "Expand", Exact),
    ("", "Shape", Exact),
    (ML, "ArrayFeatureExtractor", Exact),
];

/// The operator's place in [`OPERATORS`].
pub(crate) fn find(domain: &str, operator: &str) -> Option<usize> {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    OPERATORS.iter().position(|(d, o, _)| (*d, *o) == (domain, operator))
}
