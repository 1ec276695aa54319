"""Checks exported models with ONNX's own checker and runs them in onnxruntime.

Usage: check.py FOLDER. For each NAME.onnx there: NAME.in (rows of float32) and NAME.burn (probabilities or profiles by Burn).
Prints a line of JSON for each model; exits with 1 at the first model that breaks the contract.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-5


def check(path: pathlib.Path) -> dict:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    opset = max(entry.version for entry in model.opset_import)
    assert opset >= 13, f"{path.name}: opset {opset}"

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    assert (source.name, source.shape[0]) == ("features", "N"), f"{path.name}: input {source.name} {source.shape}"
    output = "profile" if path.stem.endswith("-profile") else "probabilities"
    assert (target.name, target.shape[0]) == (output, "N"), f"{path.name}: output {target.name} {target.shape}"

    rows = np.fromfile(path.with_suffix(".in"), "<f4").reshape(-1, source.shape[1])
    burn = np.fromfile(path.with_suffix(".burn"), "<f4").reshape(-1, target.shape[1])
    found = session.run([output], {"features": rows})[0]
    one_by_one = np.concatenate([session.run(None, {"features": row[None]})[0] for row in rows[:50]])
    # The days of a profile are tens of times as large as what else is compared.
    difference = float(np.abs(found - burn).max() / max(1, np.abs(burn).max()))
    assert found.dtype == np.float32 and found.shape == burn.shape, f"{path.name}: {found.dtype} {found.shape}"
    if output == "probabilities":
        assert np.abs(found.sum(1) - 1).max() < TOLERANCE and found.min() >= 0, f"{path.name}: not probabilities"
    assert difference < TOLERANCE, f"{path.name}: {difference} from Burn"
    assert np.abs(found[:50] - one_by_one).max() < TOLERANCE * max(1, np.abs(burn).max()), f"{path.name}: a row depends on its batch"
    return {"model": path.stem, "opset": opset, "rows": len(rows), "burnOnnxruntimeDifference": difference}


if __name__ == "__main__":
    models = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
    assert models, "no models"
    for model in models:
        print(json.dumps(check(model)))
