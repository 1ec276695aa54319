//! Single nodes against what onnxruntime 1.32 gives for them.

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use super::super::{LowerOptions, lower_model};
use crate::{
    engine::Plan,
    error::{ErrorKind, Result},
};

const NAN: f32 = f32::NAN;
const X: [f32; 6] = [1.0, 2.0, -1.0, 0.5, 0.0, -3.0];

/// A node of ONNX-ML, with attributes in the order in which they are given.
pub(crate) struct Op {
    pub(crate) node: NodeProto,
    pub(crate) version: i64,
}

impl Op {
    pub(crate) fn new(operator: &str, outputs: &[&str]) -> Self {
        let node = NodeProto {
            op_type: operator.to_string(),
            domain: "ai.onnx.ml".to_string(),
            input: vec!["x".to_string()],
            output: outputs.iter().map(ToString::to_string).collect(),
            ..NodeProto::default()
        };
        Self { node, version: 3 }
    }

    pub(crate) fn with(mut self, name: &str, set: impl FnOnce(&mut AttributeProto)) -> Self {
        let mut attribute = AttributeProto { name: name.to_string(), ..AttributeProto::default() };
        set(&mut attribute);
        self.node.attribute.retain(|attribute| attribute.name != name);
        self.node.attribute.push(attribute);
        self
    }

    pub(crate) fn floats(self, name: &str, data: &[f32]) -> Self {
        self.with(name, |a| a.floats = data.to_vec())
    }

    pub(crate) fn ints(self, name: &str, data: &[i64]) -> Self {
        self.with(name, |a| a.ints = data.to_vec())
    }

    pub(crate) fn int(self, name: &str, value: i64) -> Self {
        self.with(name, |a| a.i = value)
    }

    pub(crate) fn float(self, name: &str, value: f32) -> Self {
        self.with(name, |a| a.f = value)
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.with(name, |a| a.s = value.as_bytes().to_vec())
    }

    pub(crate) fn texts(self, name: &str, values: &[&str]) -> Self {
        self.with(name, |a| a.strings = values.iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    pub(crate) fn doubles(self, name: &str, data: &[f64]) -> Self {
        let (dims, double_data) = (vec![data.len() as i64], data.to_vec());
        let data_type = DataType::Double as i32;
        self.with(name, |a| {
            a.t = Some(TensorProto { dims, data_type, double_data, ..TensorProto::default() })
        })
    }

    pub(crate) fn bytes(self, name: &str, data: &[u8]) -> Self {
        let (dims, raw_data) = (vec![data.len() as i64], data.to_vec());
        let data_type = DataType::Uint8 as i32;
        self.with(name, |a| a.t = Some(TensorProto { dims, data_type, raw_data, ..TensorProto::default() }))
    }

    /// Lowers the node for inputs of that shape, in which 0 is the batch.
    pub(crate) fn plan(&self, shape: &[i64], wanted: &[&str]) -> Result<Plan> {
        let dim = |n: &i64| tensor_shape_proto::Dimension {
            value: (*n > 0).then_some(tensor_shape_proto::dimension::Value::DimValue(*n)),
            ..Default::default()
        };
        let tensor = type_proto::Tensor {
            elem_type: DataType::Float as i32,
            shape: Some(TensorShapeProto { dim: shape.iter().map(dim).collect() }),
        };
        let r#type =
            Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
        let output = |name: &String| ValueInfoProto { name: name.clone(), ..Default::default() };
        let graph = GraphProto {
            node: vec![self.node.clone()],
            input: vec![ValueInfoProto { name: "x".to_string(), r#type, ..Default::default() }],
            output: self.node.output.iter().map(output).collect(),
            ..Default::default()
        };
        let import = |domain: &str, version| OperatorSetIdProto { domain: domain.to_string(), version };
        let opset_import = vec![import("", 17), import("ai.onnx.ml", self.version)];
        let model = ModelProto { opset_import, graph: Some(graph), ..Default::default() };
        lower_model(&model, &LowerOptions { outputs: wanted, ..Default::default() })
    }

    /// Every output's numbers for rows of two features, which must not depend on how the batch is declared.
    pub(crate) fn outputs(&self, xs: &[f32], wanted: &[&str]) -> Vec<Vec<f32>> {
        let rows = xs.len() / 2;
        let run = |plan: Plan, rows: usize| {
            let mut workspace = plan.workspace(rows);
            plan.input(&mut workspace, 0, rows).copy_from_slice(xs);
            plan.run(&mut workspace, rows).unwrap();
            (0..plan.outputs().len()).map(|i| plan.output(&workspace, i, rows).to_vec()).collect()
        };
        let free: Vec<Vec<f32>> = run(self.plan(&[0, 2], wanted).unwrap(), rows);
        let fixed: Vec<Vec<f32>> = run(self.plan(&[rows as i64, 2], wanted).unwrap(), 1);
        let bits = |all: &[Vec<f32>]| -> Vec<u32> { all.concat().iter().map(|x| x.to_bits()).collect() };
        assert_eq!(bits(&free), bits(&fixed));
        free
    }

    pub(crate) fn gives(&self, expected: &[&[f32]]) {
        close(&self.node.op_type, &self.outputs(&X, &[]), expected);
    }

    pub(crate) fn is_refused(&self, kind: ErrorKind, wanted: &[&str], why: &str) {
        let error = self.plan(&[0, 2], wanted).unwrap_err();
        assert!(error.kind() == kind && error.message().contains(why), "{error}");
    }
}

pub(crate) fn close(what: &str, found: &[Vec<f32>], expected: &[&[f32]]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let near =
            |(a, b): (&f32, &f32)| (a.is_nan() && b.is_nan()) || (a - b).abs() <= 2e-6 * b.abs().max(0.1);
        let same = found.len() == expected.len() && found.iter().zip(*expected).all(near);
        assert!(same, "{what}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn linear_models() {
    let op = || {
        Op::new("LinearClassifier", &["l", "y"])
            .floats("coefficients", &[1.0, -0.5, 0.25, 2.0, -1.0, 0.75])
            .floats("intercepts", &[0.1, -0.2, 0.3])
            .ints("classlabels_ints", &[7, 5, 6])
    };
    let labels = &[5.0, 6.0, 7.0][..];
    op().gives(&[labels, &[0.1, 4.05, 0.8, -1.15, 0.55, 1.675, 1.6, -6.2, -1.95]]);
    op().text("post_transform", "LOGISTIC").gives(&[
        labels,
        &[
            0.524_979_2,
            0.982_875_94,
            0.689_974_4,
            0.240_489_1,
            0.634_135_6,
            0.842_241_3,
            0.832_018_4,
            0.002_025_3,
            0.124_553_3,
        ],
    ]);
    op().text("post_transform", "SOFTMAX").gives(&[
        labels,
        &[
            0.018_198_65,
            0.945_153_7,
            0.036_647_58,
            0.042_854_28,
            0.234_582_05,
            0.722_563_6,
            0.971_690_4,
            0.000_398_14,
            0.027_911_45,
        ],
    ]);
    op().floats("coefficients", &[1.0, 2.0]).is_refused(ErrorKind::UnsupportedModel, &[], "single row");
    op().floats("coefficients", &[1.0; 8]).is_refused(ErrorKind::InvalidModel, &[], "coefficients");
    let regressor = || {
        Op::new("LinearRegressor", &["y"]).floats("coefficients", &[1.0, -0.5, 0.25, 2.0]).int("targets", 2)
    };
    regressor().gives(&[&[0.0, 4.25, -1.25, 0.75, 1.5, -6.0]]);
    regressor().floats("intercepts", &[0.1, -0.2]).text("post_transform", "LOGISTIC").gives(&[&[
        0.524_979_2,
        0.982_875_94,
        0.240_489_1,
        0.634_135_6,
        0.832_018_4,
        0.002_025_3,
    ]]);
}

/// Four support vectors in the plane.
fn svm(operator: &str, outputs: &[&str], kernel: &str) -> Op {
    Op::new(operator, outputs)
        .floats("support_vectors", &[1.0, 0.0, 0.0, 1.0, -1.0, 0.5, 0.5, -1.0])
        .floats("kernel_params", &[0.5, 0.25, 3.0])
        .floats("coefficients", &[1.0, 0.5, -0.75, -0.75])
        .floats("rho", &[0.1])
        .text("kernel_type", kernel)
}

#[test]
fn support_vector_machines_of_two_classes_and_regressors() {
    for (kernel, labels, a, b, c) in [
        ("LINEAR", [3.0, 4.0, 4.0], 3.225, -0.8375, -2.525),
        ("POLY", [3.0, 4.0, 4.0], 1.580_468_8, -0.343_847_66, -4.786_719),
        ("RBF", [3.0, 4.0, 3.0], 0.378_969_58, -0.341_985_73, 0.016_335_867),
        ("SIGMOID", [3.0, 4.0, 4.0], 1.322_189_8, -0.258_100_3, -0.438_666_97),
    ] {
        let two = svm("SVMClassifier", &["l", "y"], kernel)
            .ints("vectors_per_class", &[2, 2])
            .ints("classlabels_ints", &[3, 4]);
        two.gives(&[&labels, &[-a, a, -b, b, -c, c]]);
        svm("SVMRegressor", &["y"], kernel).int("n_supports", 4).gives(&[&[a, b, c]]);
        let one = svm("SVMRegressor", &["y"], kernel).int("n_supports", 4).int("one_class", 1);
        one.gives(&[&[a, b, c].map(f32::signum)]);
        let wrong = svm("SVMRegressor", &["y"], kernel).int("n_supports", 3);
        wrong.is_refused(ErrorKind::InvalidModel, &[], "3 support vectors");
    }
    let linear = Op::new("SVMRegressor", &["y"]).floats("coefficients", &[1.0, -2.0]).floats("rho", &[0.1]);
    linear.gives(&[&[-2.9, -1.9, 6.1]]);
}

#[test]
fn support_vector_machines_of_three_classes() {
    let op = || {
        svm("SVMClassifier", &["l", "y"], "RBF")
            .ints("vectors_per_class", &[1, 2, 1])
            .floats("coefficients", &[1.0, 0.5, -0.75, -0.75, 0.3, -0.2, 0.6, -0.9])
            .floats("rho", &[0.1, -0.2, 0.3])
            .ints("classlabels_ints", &[0, 1, 2])
    };
    let labels = &[0.0, 1.0, 0.0][..];
    op().gives(&[
        labels,
        &[
            0.386_322_32,
            -0.166_752_16,
            0.243_962_99,
            -0.262_936_3,
            -0.243_219_52,
            0.698_088_47,
            0.105_910_59,
            -0.287_553_34,
            0.193_239_32,
        ],
    ]);
    op().text("post_transform", "SOFTMAX").gives(&[
        labels,
        &[
            0.409_418_55,
            0.235_488_85,
            0.355_092_64,
            0.215_782_94,
            0.220_079_7,
            0.564_137_34,
            0.361_536_68,
            0.243_934_47,
            0.394_528_84,
        ],
    ]);
    op().floats("prob_a", &[-1.0, -2.0, -0.5]).floats("prob_b", &[0.1, 0.0, -0.3]).gives(&[
        labels,
        &[
            0.331_174_14,
            0.347_133_76,
            0.321_692_3,
            0.251_368_4,
            0.458_322_38,
            0.290_309_13,
            0.277_602_85,
            0.384_290_46,
            0.338_106_66,
        ],
    ]);
    let linear = Op::new("SVMClassifier", &["l", "y"])
        .floats("coefficients", &[1.0, -0.5, 0.25, 2.0, -1.0, 0.75])
        .floats("rho", &[0.5, 0.1, 0.2])
        .ints("classlabels_ints", &[0, 1, 2])
        .text("post_transform", "SOFTMAX");
    linear.gives(&[
        &[1.0, 2.0, 0.0],
        &[
            0.013_744_92,
            0.963_593_54,
            0.022_661_55,
            0.045_057_97,
            0.332_935_9,
            0.622_006_1,
            0.976_494_9,
            0.000_540_08,
            0.022_964_96,
        ],
    ]);
}

#[test]
fn what_comes_before_a_model() {
    let op = |operator: &str| Op::new(operator, &["y"]);
    op("Scaler")
        .floats("offset", &[1.0, -1.0])
        .floats("scale", &[2.0, 0.5])
        .gives(&[&[0.0, 1.5, -4.0, 0.75, -2.0, -1.0]]);
    op("Scaler")
        .floats("offset", &[1.0])
        .floats("scale", &[2.0])
        .gives(&[&[0.0, 2.0, -4.0, -1.0, -2.0, -8.0]]);
    op("Scaler").floats("scale", &[2.0; 3]).is_refused(ErrorKind::InvalidModel, &[], "scale");
    let missing = [1.0, NAN, -1.0, 0.5, NAN, -3.0];
    let imputer =
        op("Imputer").floats("imputed_value_floats", &[10.0, 20.0]).float("replaced_value_float", NAN);
    close("Imputer", &imputer.outputs(&missing, &[]), &[&[1.0, 20.0, -1.0, 0.5, 10.0, -3.0]]);
    let imputer = op("Imputer").floats("imputed_value_floats", &[9.0]).float("replaced_value_float", -1.0);
    close("Imputer", &imputer.outputs(&missing, &[]), &[&[1.0, NAN, 9.0, 0.5, NAN, -3.0]]);
    op("Binarizer").float("threshold", 0.5).gives(&[&[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]]);
    for (norm, expected) in [
        ("MAX", [0.0, 0.0, -3.0, 1.0, 3.0, 1.0]),
        ("L1", [0.0, 0.0, -0.75, 0.25, -0.75, -0.25]),
        ("L2", [0.0, 0.0, -0.948_683_26, 0.316_227_76, -0.948_683_26, -0.316_227_76]),
    ] {
        let found = op("Normalizer").text("norm", norm).outputs(&[0.0, 0.0, -3.0, 1.0, -3.0, -1.0], &[]);
        close(norm, &found, &[&expected]);
    }
    op("FeatureVectorizer").ints("inputdimensions", &[2]).gives(&[&X]);
    op("FeatureVectorizer").ints("inputdimensions", &[1]).gives(&[&[1.0, -1.0, 0.0]]);
    op("ZipMap").gives(&[&X]);
}

#[test]
fn categories_and_codes() {
    let hot = || Op::new("OneHotEncoder", &["y"]).ints("cats_int64s", &[2, -1, 7]);
    hot().gives(&[&[
        0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    ]]);
    let strict = hot().int("zeros", 0).outputs(&[2.0, 3.0], &[]);
    close("unknown categories", &strict, &[&[1.0, 0.0, 0.0, NAN, NAN, NAN]]);
    Op::new("OneHotEncoder", &["y"]).texts("cats_strings", &["a"]).is_refused(
        ErrorKind::UnsupportedModel,
        &[],
        "text",
    );
    let codes = || Op::new("LabelEncoder", &["y"]).floats("keys_floats", &[1.0, 2.0, -3.0]);
    codes()
        .ints("values_int64s", &[5, -7, 11])
        .int("default_int64", 4)
        .gives(&[&[5.0, -7.0, 4.0, 4.0, 4.0, 11.0]]);
    codes()
        .floats("values_floats", &[5.5, -7.0, 11.0])
        .float("default_float", 0.25)
        .gives(&[&[5.5, -7.0, 0.25, 0.25, 0.25, 11.0]]);
    codes().texts("values_strings", &["a", "b", "c"]).is_refused(ErrorKind::UnsupportedModel, &[], "text");
}

/// Looks random; the same on every run.
pub(crate) fn random(state: &mut u32, below: u32) -> u32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 8) % below
}

/// Changes an attribute somehow.
fn spoil(op: &mut Op, state: &mut u32) {
    const NUMBERS: [i64; 9] = [-1, 0, 1, 2, 5, 7, 1 << 40, i64::MAX, i64::MIN];
    let count = op.node.attribute.len() as u32;
    let attribute = &mut op.node.attribute[random(state, count) as usize];
    let number = NUMBERS[random(state, 9) as usize];
    match random(state, 4) {
        0 => attribute.name.push('s'),
        1 => {
            let keep = random(state, 4) as usize;
            attribute.ints.truncate(keep);
            attribute.floats.truncate(keep);
            attribute.strings.truncate(keep);
        }
        2 => {
            attribute.i = number;
            attribute.ints.push(number);
            attribute.floats.push(number as f32);
        }
        _ => {
            let at = random(state, 8) as usize;
            attribute.ints.iter_mut().skip(at).take(1).for_each(|n| *n = number);
            attribute.floats.iter_mut().skip(at).take(1).for_each(|x| *x = f32::NAN);
        }
    }
}

#[test]
fn whatever_the_attributes_say_there_is_an_answer() {
    let vectors = svm("SVMClassifier", &["l", "y"], "POLY").ints("classlabels_ints", &[3, 4, 9]);
    let set = Op::new("TreeEnsemble", &["y"])
        .doubles("nodes_splits", &[0.0, 1.5])
        .ints("nodes_featureids", &[0, 1])
        .bytes("nodes_modes", &[6, 0])
        .ints("nodes_truenodeids", &[0, 1])
        .ints("nodes_falsenodeids", &[1, 0])
        .ints("nodes_trueleafs", &[1, 1])
        .ints("nodes_falseleafs", &[0, 1])
        .doubles("membership_values", &[1.0, 2.0, f64::NAN])
        .ints("leaf_targetids", &[0, 1])
        .doubles("leaf_weights", &[5.0, 7.0])
        .ints("tree_roots", &[0])
        .int("n_targets", 2);
    let ops = [
        crate::lower::trees::tests::stump(&[0, 1, 2], &[0.2, 0.3, 0.4, 0.5, 0.6, 0.7], &[5, 6, 7]),
        crate::lower::trees::tests::stump(&[0], &[0.2, 0.3], &[5, 6]),
        vectors
            .ints("vectors_per_class", &[1, 2, 1])
            .floats("rho", &[0.0; 3])
            .floats("coefficients", &[1.0; 8]),
        svm("SVMRegressor", &["y"], "RBF").int("n_supports", 4).int("one_class", 0),
        Op::new("LinearClassifier", &["l", "y"])
            .floats("coefficients", &[1.0; 6])
            .ints("classlabels_ints", &[7, 5, 6]),
        Op::new("LinearRegressor", &["y"]).floats("coefficients", &[1.0; 4]).int("targets", 2),
        Op::new("OneHotEncoder", &["y"]).ints("cats_int64s", &[2, -1, 7]).int("zeros", 0),
        Op::new("LabelEncoder", &["y"]).floats("keys_floats", &[1.0; 3]).ints("values_int64s", &[2, -1, 7]),
        Op::new("Imputer", &["y"]).floats("imputed_value_floats", &[9.0]).float("replaced_value_float", -1.0),
        Op::new("Scaler", &["y"]).floats("offset", &[1.0, -1.0]).floats("scale", &[2.0, 0.5]),
        Op::new("FeatureVectorizer", &["y"]).ints("inputdimensions", &[2]),
        set,
    ];
    let (mut state, mut sound) = (1, 0);
    for op in &ops {
        for _ in 0..600 {
            let mut spoilt = Op { node: op.node.clone(), version: op.version };
            (0..=random(&mut state, 2)).for_each(|_| spoil(&mut spoilt, &mut state));
            if spoilt.plan(&[0, 2], &[]).is_ok() {
                sound += 1;
                spoilt.outputs(&X, &[]);
            }
        }
    }
    assert!(sound > 600, "{sound} were sound");
}
