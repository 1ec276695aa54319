"""Writes the benchmark's models, rows and reference outputs: models.py FOLDER

Per model NAME: NAME.onnx (opset 17, `features` [N, F] in, `probabilities` or `embedding` [N, K] out, N free),
NAME.tract.onnx (the same, as tract reads it),
NAME.json with the same weights for contestants that read no ONNX, NAME.rows (1,024 rows, f32) and NAME.expected
(what onnxruntime gives for them, f32). Everything is seeded: the same versions write the same bytes.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROWS = 1024
CLASSES = 5
TREES, DEPTH = 200, 6


def weights(random, *shape):
    """He initialisation: activations keep their scale, as in a trained network."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0]
    return (random.standard_normal(shape) * np.sqrt(2.0 / fan_in)).astype(np.float32)


def mlp(random):
    sizes = [32, 64, 32, CLASSES]
    params, nodes, value = {}, [], "features"
    for i, (n, m) in enumerate(zip(sizes, sizes[1:])):
        params[f"w{i}"], params[f"b{i}"] = weights(random, m, n), weights(random, m) * 0.1
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
        last = i == len(sizes) - 2
        value = "probabilities" if last else f"a{i}"
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{i}"], [value]))
    return sizes[0], CLASSES, nodes, params, params


def conv1d(random):
    """Behaviour encoder over 100 steps of 16 numbers: conv, relu, pool, conv, relu, pool, dense, tanh."""
    steps, channels, embedding = 100, 16, 32
    params = {
        "w0": weights(random, 32, channels, 5), "b0": weights(random, 32) * 0.1,
        "w1": weights(random, 32, 32, 3), "b1": weights(random, 32) * 0.1,
        "w2": weights(random, embedding, 32 * (steps // 4)) * 0.5, "b2": weights(random, embedding) * 0.1,
    }
    shape = {"shape": np.array([-1, steps, channels], np.int64)}
    node = helper.make_node
    nodes = [
        node("Reshape", ["features", "shape"], ["steps"]),
        node("Transpose", ["steps"], ["x"], perm=[0, 2, 1]),
        node("Conv", ["x", "w0", "b0"], ["c0"], kernel_shape=[5], pads=[2, 2]),
        node("Relu", ["c0"], ["r0"]),
        node("MaxPool", ["r0"], ["p0"], kernel_shape=[2], strides=[2]),
        node("Conv", ["p0", "w1", "b1"], ["c1"], kernel_shape=[3], pads=[1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2], strides=[2]),
        node("Flatten", ["p1"], ["flat"], axis=1),
        node("Gemm", ["flat", "w2", "b2"], ["z"], transB=1),
        node("Tanh", ["z"], ["embedding"]),
    ]
    return steps * channels, embedding, nodes, params | shape, params


def gru(random):
    """20 steps of 16 numbers through a GRU of 64 (gates z, r, h; `linear_before_reset` as PyTorch exports it)."""
    steps, width, hidden = 20, 16, 64
    params = {
        "w": weights(random, 3 * hidden, width) * 0.7, "r": weights(random, 3 * hidden, hidden) * 0.7,
        "b": weights(random, 6 * hidden) * 0.1,
        "w1": weights(random, CLASSES, hidden), "b1": weights(random, CLASSES) * 0.1,
    }
    constants = {
        "W": params["w"][None], "R": params["r"][None], "B": params["b"][None], "w1": params["w1"], "b1": params["b1"],
        "shape": np.array([-1, steps, width], np.int64), "axis": np.array([0], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Reshape", ["features", "shape"], ["steps"]),
        node("Transpose", ["steps"], ["x"], perm=[1, 0, 2]),
        node("GRU", ["x", "W", "R", "B"], ["", "last"], hidden_size=hidden, linear_before_reset=1),
        node("Squeeze", ["last", "axis"], ["h"]),
        node("Gemm", ["h", "w1", "b1"], ["z"], transB=1),
        node("Softmax", ["z"], ["probabilities"]),
    ]
    return steps * width, CLASSES, nodes, constants, params


def with_state(model):
    """The same GRU with its zero state said outright: with a free N, tract wants it so."""
    node, shaped = helper.make_node, onnx.ModelProto()
    shaped.CopyFrom(model)
    for name, value in {"zero": [0], "one": [1], "hidden": [64]}.items():
        shaped.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    state = [
        node("Shape", ["features"], ["size"]),
        node("Gather", ["size", "zero"], ["n"], axis=0),
        node("Concat", ["one", "n", "hidden"], ["state_size"], axis=0),
        node("ConstantOfShape", ["state_size"], ["state"], value=numpy_helper.from_array(np.zeros(1, np.float32))),
    ]
    nodes = list(shaped.graph.node)
    cell = next(i for i, each in enumerate(nodes) if each.op_type == "GRU")
    nodes[cell].input.extend(["", "state"])
    del shaped.graph.node[:]
    shaped.graph.node.extend(state + nodes)
    onnx.checker.check_model(shaped, full_check=True)
    return shaped


def grow(random, data, depth):
    """A complete tree in heap order. Each threshold is a value between the 20th and 80th percentile of what reaches
    its node, so that, as in a fitted tree, every leaf is reached."""
    features, thresholds = np.zeros(2**depth - 1, int), np.zeros(2**depth - 1, np.float32)
    reached = {0: np.arange(len(data))}
    for at in range(len(features)):
        rows = reached.pop(at)
        features[at] = random.integers(data.shape[1])
        column = data[rows, features[at]]
        thresholds[at] = np.quantile(column, random.uniform(0.2, 0.8)) if len(rows) else random.standard_normal()
        left = data[rows, features[at]] <= thresholds[at]
        reached[2 * at + 1], reached[2 * at + 2] = rows[left], rows[~left]
    return features, thresholds


def trees(random):
    """A boosted ensemble: tree t votes for class t mod 5; softmax over the sums."""
    inputs, inner, leaves = 32, 2**DEPTH - 1, 2**DEPTH
    data = random.standard_normal((8192, inputs)).astype(np.float32)
    grown = [grow(random, data, DEPTH) for _ in range(TREES)]
    values = (random.standard_normal((TREES, leaves)) * 0.15).astype(np.float32)
    nodes_per_tree = inner + leaves
    tree_ids = np.repeat(np.arange(TREES), nodes_per_tree)
    node_ids = np.tile(np.arange(nodes_per_tree), TREES)
    is_inner = node_ids < inner
    pad = np.zeros(leaves)
    node = helper.make_node(
        "TreeEnsembleClassifier", ["features"], ["label", "probabilities"], domain="ai.onnx.ml",
        post_transform="SOFTMAX", classlabels_int64s=list(range(CLASSES)),
        nodes_treeids=tree_ids.tolist(), nodes_nodeids=node_ids.tolist(),
        nodes_featureids=np.concatenate([np.concatenate([f, pad]) for f, _ in grown]).astype(int).tolist(),
        nodes_values=np.concatenate([np.concatenate([t, pad]) for _, t in grown]).astype(np.float32).tolist(),
        nodes_modes=["BRANCH_LEQ" if i else "LEAF" for i in is_inner],
        nodes_truenodeids=np.where(is_inner, 2 * node_ids + 1, 0).tolist(),
        nodes_falsenodeids=np.where(is_inner, 2 * node_ids + 2, 0).tolist(),
        nodes_missing_value_tracks_true=[0] * len(node_ids), nodes_hitrates=[1.0] * len(node_ids),
        class_treeids=np.repeat(np.arange(TREES), leaves).tolist(),
        class_nodeids=np.tile(np.arange(inner, nodes_per_tree), TREES).tolist(),
        class_ids=np.repeat(np.arange(TREES) % CLASSES, leaves).tolist(),
        class_weights=values.ravel().tolist(),
    )
    plain = {
        "features": np.concatenate([f for f, _ in grown]).astype(np.float32),
        "thresholds": np.concatenate([t for _, t in grown]), "leaves": values.ravel(),
    }
    return inputs, CLASSES, [node], {}, plain


def save(folder, name, seed, build):
    random = np.random.Generator(np.random.PCG64(seed))
    inputs, outputs, nodes, constants, plain = build(random)
    output = nodes[-1].output[-1]
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", inputs])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", outputs])],
        [numpy_helper.from_array(np.ascontiguousarray(value), key) for key, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tiercast-bench")
    onnx.checker.check_model(model, full_check=True)
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    tract = with_state(model) if name == "gru" else model
    (folder / f"{name}.tract.onnx").write_bytes(tract.SerializeToString())

    rows = random.standard_normal((ROWS, inputs)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run([output], {"features": rows})[0]
    (folder / f"{name}.rows").write_bytes(rows.tobytes())
    (folder / f"{name}.expected").write_bytes(expected.astype(np.float32).tobytes())
    described = {
        "inputs": inputs, "outputs": outputs, "output": output,
        "weights": {key: {"shape": list(value.shape), "data": value.ravel().tolist()} for key, value in plain.items()},
    }
    (folder / f"{name}.json").write_text(json.dumps(described))
    print(f"{name}: {inputs} -> {outputs}, mean of output columns {expected.mean(0)[:5].round(3)}")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for number, (key, make) in enumerate({"mlp": mlp, "trees": trees, "conv1d": conv1d, "gru": gru}.items()):
        save(target, key, 20261122 + number, make)
