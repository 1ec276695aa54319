"""Trains small models as their users do, exports them to ONNX, and lets onnxruntime score 10,000 rows with each.

    python models.py FOLDER     writes FOLDER/NAME/{model.onnx, test_data_set_0/{input,output}_0.pb, ...}

The layout is that of ONNX's own backend test cases. A ZipMap's sequence of maps is written as the table of its values.
The rows hold what shops send and what they should not: missing values where a model takes them, zeros of both signs,
subnormals, counts beyond 2^24, values of 1e30, and values that lie exactly on what the trees compare with.
"""

import pathlib
import sys
import warnings

import lightgbm
import numpy
import onnx
import onnxmltools
import onnxruntime
import skl2onnx
import xgboost
from onnx import TensorProto, helper, numpy_helper, reference
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsTensorType
from skl2onnx.common.data_types import FloatTensorType
from sklearn import compose, ensemble, impute, linear_model, neural_network, pipeline, preprocessing, svm

ROWS, FEATURES, TRAIN, FEW = 10_000, 12, 1_500, 300
ITEMS = 200  # as in torch_models.py
random = numpy.random.default_rng(20_260_101)


def members(rows):
    """Counts, amounts, days, shares and standard scores, as a shop's tables have them."""
    x = random.standard_normal((rows, FEATURES))
    x[:, 0] = random.poisson(3, rows)
    x[:, 1] = random.gamma(1.5, 80, rows)
    x[:, 2] = random.integers(0, 366, rows)
    x[:, 3] = random.uniform(0, 1, rows)
    x[:, 4] = random.integers(0, 3, rows)
    return x.astype(numpy.float32)


def score(x):
    return x[:, 0] / 3 + x[:, 1] / 120 - x[:, 2] / 180 + x[:, 3] * x[:, 5] + x[:, 6] * (x[:, 4] == 1)


x = members(TRAIN)
gaps = x.copy()
gaps[random.uniform(size=x.shape) < 0.1] = numpy.nan
amount = (score(x) + random.normal(0, 0.3, TRAIN)).astype(numpy.float32)
tiers = numpy.digitize(amount, numpy.quantile(amount, [0.4, 0.7, 0.9])).astype(numpy.int64)
leaves = (amount < numpy.median(amount)).astype(numpy.int64)

coded = gaps.copy()
coded[:, 4] = x[:, 4]

EXTREMES = numpy.array(
    [1e30, -1e30, 0.0, -0.0, 1e-40, -1e-40, 1.2e-38, 2**24 + 2, 1e9, -1e9, 0.5, 1.0], dtype=numpy.float32
)

names = numpy.array(["bronze", "silver", "gold", "platinum"])[tiers]


def rows(missing):
    """8,000 ordinary rows, 2,000 with extremes; then a tenth missing, if asked."""
    table = members(ROWS)
    odd = table[8_000:]
    where = random.uniform(size=odd.shape) < 0.15
    odd[where] = random.choice(EXTREMES, where.sum())
    if missing:
        table[random.uniform(size=table.shape) < 0.1] = numpy.nan
        table[0] = numpy.nan
    return table


def categories(rows):
    """Whole numbers, some of which training never saw."""
    return random.integers(0, 6, (rows, 3)).astype(numpy.float32)


WIDE = [("features", ToolsTensorType([None, FEATURES]))]


def sklearn(model, data, **options):
    shape = [("features", FloatTensorType([None, data.shape[1]]))]
    return skl2onnx.convert_sklearn(model, initial_types=shape, target_opset={"": 18, "ai.onnx.ml": 3}, **options)


def scaled(model):
    return pipeline.make_pipeline(preprocessing.StandardScaler(), model)


FOREST = {"n_estimators": 30, "max_depth": 8, "random_state": 0}
BOOST = {"n_estimators": 30, "max_depth": 4, "random_state": 0}
LEAFWISE = {"n_estimators": 40, "num_leaves": 15, "random_state": 0, "n_jobs": 1, "verbose": -1}
GRADIENT = {"n_estimators": 40, "max_depth": 5, "random_state": 0, "n_jobs": 1}
NET = {"hidden_layer_sizes": (32, 16), "max_iter": 60, "random_state": 0}

AMOUNTS = pipeline.make_pipeline(impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler())
CODES = pipeline.make_pipeline(impute.SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder(handle_unknown="ignore"))
COLUMNS = compose.ColumnTransformer([("amounts", AMOUNTS, [0, 1, 2, 3, 5]), ("codes", CODES, [4])])

# name, model, training rows, what it learns
SKLEARN = [
    ("scaler-logistic", scaled(linear_model.LogisticRegression()), x, tiers),
    ("scaler-logistic-binary", scaled(linear_model.LogisticRegression()), x, leaves),
    ("imputer-logistic", pipeline.make_pipeline(impute.SimpleImputer(), scaled(linear_model.LogisticRegression())), gaps, tiers),
    ("normalizer-ridge", pipeline.make_pipeline(preprocessing.Normalizer(), linear_model.Ridge()), x, amount),
    ("minmax-linear", pipeline.make_pipeline(preprocessing.MinMaxScaler(), linear_model.LinearRegression()), x, amount),
    ("linear-svc", scaled(svm.LinearSVC(random_state=0)), x, tiers),
    ("linear-svc-binary", scaled(svm.LinearSVC(random_state=0)), x, leaves),
    ("svc-rbf", scaled(svm.SVC(random_state=0)), x[:FEW], tiers[:FEW]),
    ("svc-rbf-probability", scaled(svm.SVC(probability=True, random_state=0)), x[:FEW], tiers[:FEW]),
    ("svc-rbf-probability-binary", scaled(svm.SVC(probability=True, random_state=0)), x[:FEW], leaves[:FEW]),
    ("svr-rbf", scaled(svm.SVR()), x[:FEW], amount[:FEW]),
    ("svr-poly", scaled(svm.SVR(kernel="poly", degree=2)), x[:FEW], amount[:FEW]),
    ("mlp", scaled(neural_network.MLPClassifier(**NET)), x, tiers),
    ("mlp-tanh-binary", scaled(neural_network.MLPClassifier(activation="tanh", **NET)), x, leaves),
    ("mlp-regressor", scaled(neural_network.MLPRegressor(**NET)), x, amount),
    ("random-forest", ensemble.RandomForestClassifier(**FOREST), x, tiers),
    ("random-forest-binary", ensemble.RandomForestClassifier(**FOREST), x, leaves),
    ("text-labels", ensemble.RandomForestClassifier(**FOREST), x, names),
    ("random-forest-regressor", ensemble.RandomForestRegressor(**FOREST), x, amount),
    ("extra-trees", ensemble.ExtraTreesClassifier(**FOREST), x, tiers),
    ("gradient-boosting", ensemble.GradientBoostingClassifier(**BOOST), x, tiers),
    ("gradient-boosting-binary", ensemble.GradientBoostingClassifier(**BOOST), x, leaves),
    ("gradient-boosting-regressor", ensemble.GradientBoostingRegressor(**BOOST), x, amount),
    ("columns-logistic", pipeline.make_pipeline(COLUMNS, linear_model.LogisticRegression(max_iter=500)), gaps, tiers),
    ("ada-boost", ensemble.AdaBoostClassifier(n_estimators=10, random_state=0), x, tiers),
    ("hist-gradient-boosting", ensemble.HistGradientBoostingClassifier(max_iter=30, random_state=0), gaps, tiers),
    ("hist-gradient-boosting-binary", ensemble.HistGradientBoostingClassifier(max_iter=30, random_state=0), gaps, leaves),
    ("hist-gradient-boosting-regressor", ensemble.HistGradientBoostingRegressor(max_iter=30, random_state=0), gaps, amount),
]
LIGHTGBM = [
    ("lightgbm", lightgbm.LGBMClassifier(**LEAFWISE), gaps, tiers),
    ("lightgbm-binary", lightgbm.LGBMClassifier(**LEAFWISE), gaps, leaves),
    ("lightgbm-regressor", lightgbm.LGBMRegressor(**LEAFWISE), gaps, amount),
    ("lightgbm-categories", lightgbm.LGBMClassifier(**LEAFWISE), coded, tiers),
    ("lightgbm-random-forest", lightgbm.LGBMRegressor(boosting_type="rf", subsample=0.6, subsample_freq=1, **LEAFWISE), gaps, amount),
]
XGBOOST = [
    ("xgboost", xgboost.XGBClassifier(**GRADIENT), gaps, tiers),
    ("xgboost-binary", xgboost.XGBClassifier(**GRADIENT), gaps, leaves),
    ("xgboost-regressor", xgboost.XGBRegressor(**GRADIENT), gaps, amount),
    ("xgboost-forest", xgboost.XGBRFRegressor(**GRADIENT), gaps, amount),
]


def values(output):
    """A tensor as it is; a ZipMap's sequence of maps as the table of its values."""
    if isinstance(output, list):
        output = [[row[key] for key in sorted(row)] for row in output]
        return numpy.array(output, dtype=numpy.float32)
    return output


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def write(folder, kind, arrays, names):
    for i, (array, name) in enumerate(zip(arrays, names, strict=True)):
        tensor = numpy_helper.from_array(numpy.asarray(values(array)), name)
        (folder / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())


def exact(model, inputs):
    """What the same model gives in 64 bits: trees in onnxruntime, the rest in ONNX's reference implementation."""
    model = without_zipmap(onnx.ModelProto.FromString(model.SerializeToString()))
    fed, last = model.graph.input[0], numpy.asarray
    if inputs.dtype == numpy.float32:
        inputs, fed.type.tensor_type.elem_type = inputs.astype(numpy.float64), TensorProto.DOUBLE
    trees = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    for attribute in (attribute for node in trees for attribute in node.attribute):
        # onnxruntime does these in 32 bits, and loses digits; nothing follows that changes scores.
        if attribute.name == "post_transform" and attribute.s in LAST:
            last, attribute.s = LAST[attribute.s], b"NONE"
    run = session(model) if trees else reference.ReferenceEvaluator(widened(model))
    outputs = run.run(None, {fed.name: inputs})
    return [last(output) if output.ndim == 2 else output for output in outputs]


def softmax(scores):
    scores = numpy.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


LAST = {
    b"LOGISTIC": lambda scores: 1 / (1 + numpy.exp(-scores.astype(numpy.float64))),
    b"SOFTMAX": lambda scores: softmax(scores.astype(numpy.float64)),
}


def without_zipmap(model):
    for node in [node for node in model.graph.node if node.op_type == "ZipMap"]:
        model.graph.node.remove(node)
        for output in model.graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None))
    return model


def widened(model):
    """Every constant and every cast in 64 bits."""
    constants = [*model.graph.initializer]
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                constants.append(attribute.t)
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    for tensor in constants:
        if tensor.data_type == TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor).astype(numpy.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for output in model.graph.output:
        if output.type.tensor_type.elem_type == TensorProto.FLOAT:
            output.type.tensor_type.elem_type = TensorProto.DOUBLE
    return model


def on_thresholds(model, table):
    """In 2,000 rows, features that trees look at have exactly the values that they are compared with."""
    for node in model.graph.node:
        if node.op_type.startswith("TreeEnsemble"):
            given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            branches = numpy.array(given["nodes_modes"]) != b"LEAF"
            features = numpy.array(given["nodes_featureids"])[branches]
            limits = numpy.array(given["nodes_values"], dtype=numpy.float32)[branches]
            for feature in numpy.unique(features):
                table[6_000:8_000, feature] = random.choice(limits[features == feature], 2_000)
    return table


def save(folder, name, model, inputs, truth=exact):
    """Writes the model, its inputs, what onnxruntime makes of them on one thread, and what the model gives in 64 bits."""
    data = folder / name / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    (folder / name / "model.onnx").write_bytes(model.SerializeToString())
    inputs = on_thresholds(model, inputs)
    fed, names = model.graph.input[0].name, [output.name for output in model.graph.output]
    write(data, "input", [inputs], [fed])
    write(data, "output", session(model).run(None, {fed: inputs}), names)
    write(data, "exact", truth(model, inputs), names)


def trained(folder):
    for name, model, data, target in SKLEARN:
        model.fit(data, target)
        test = rows(missing=data is gaps)
        if not hasattr(model, "classes_"):
            save(folder, name, sklearn(model, data), test)
            continue
        # LinearSVC has no probabilities, and so no ZipMap to leave out.
        last = model.steps[-1][1] if isinstance(model, pipeline.Pipeline) else model
        plain = {id(last): {"raw_scores": True}} if isinstance(last, svm.LinearSVC) else {id(model): {"zipmap": False}}
        # ONNX's reference implementation couples the probabilities of pairs in another way than libsvm.
        coupled = isinstance(last, svm.SVC) and last.probability
        truth = (lambda _, rows, model=model: [model.predict(rows), model.predict_proba(rows)]) if coupled else exact
        save(folder, name, sklearn(model, data, options=plain), test, truth)
        if name in ("scaler-logistic", "random-forest-binary", "text-labels"):
            save(folder, f"{name}-zipmap", sklearn(model, data), test)
    seen, unseen = categories(TRAIN) % 5, categories(ROWS)
    encoded = pipeline.make_pipeline(preprocessing.OneHotEncoder(handle_unknown="ignore"), linear_model.LogisticRegression())
    encoded.fit(seen, leaves)
    save(folder, "one-hot-logistic", sklearn(encoded, seen, options={id(encoded): {"zipmap": False}}), unseen)
    for name, model, data, target in LIGHTGBM:
        model.fit(data, target, categorical_feature=[4] if data is coded else "auto")
        for zipmap in [False, True] if name == "lightgbm" else [False]:
            onnx_model = onnxmltools.convert_lightgbm(model, initial_types=WIDE, zipmap=zipmap, target_opset=15)
            save(folder, name + ("-zipmap" if zipmap else ""), onnx_model, rows(missing=True))
    for name, model, data, target in XGBOOST:
        model.fit(data, target)
        save(folder, name, onnxmltools.convert_xgboost(model, initial_types=WIDE, target_opset=15), rows(missing=True))


def networks(folder):
    """The committed exports of torch_models.py."""
    for path in sorted((pathlib.Path(__file__).parent / "torch").glob("*.onnx")):
        fed = onnx.load(path).graph.input[0].type.tensor_type
        shape = [ROWS, *(axis.dim_value for axis in fed.shape.dim[1:])]
        if fed.elem_type == onnx.TensorProto.INT64:
            inputs = random.integers(0, ITEMS, shape)
        else:
            inputs = random.standard_normal(shape).astype(numpy.float32)
            odd = inputs[8_000:]
            where = random.uniform(size=odd.shape) < 0.02
            odd[where] = random.choice(EXTREMES, where.sum())
        save(folder, path.stem, onnx.load(path), inputs)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    trained(pathlib.Path(sys.argv[1]))
    networks(pathlib.Path(sys.argv[1]))
