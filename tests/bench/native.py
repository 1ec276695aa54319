"""onnxruntime as a native contestant, one thread: native.py FOLDER MODEL. The protocol is native.rs's."""

import sys
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import onnxruntime

COUNT = 1024


def main(folder, model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(folder) / model
    session = onnxruntime.InferenceSession(f"{path}.onnx", options, providers=["CPUExecutionProvider"])
    rows = np.fromfile(f"{path}.rows", np.float32).reshape(COUNT, -1)
    expected = np.fromfile(f"{path}.expected", np.float32).reshape(COUNT, -1)
    names = [session.get_outputs()[0].name]
    single = [{"features": rows[i : i + 1]} for i in range(COUNT)]
    batch = {"features": rows}
    scores = [session.run(names, batch)[0], *(session.run(names, feed)[0] for feed in single[:32])]
    wanted = [expected, *(expected[i : i + 1] for i in range(32))]
    assert all(a.shape == b.shape for a, b in zip(scores, wanted, strict=True))
    # numpy's maximum of NaN is NaN, which the driver refuses; Python's own would pass over it.
    print(float(np.max([np.abs(a - b).max() for a, b in zip(scores, wanted)])), flush=True)
    for line in sys.stdin:
        count, repeats, start = map(int, line.split())
        feeds = [single[i % COUNT] if count == 1 else batch for i in range(start, start + repeats)]
        total = 0.0
        before = perf_counter_ns()
        for feed in feeds:
            total += session.run(names, feed)[0][0, 0]
        time = perf_counter_ns() - before
        assert np.isfinite(total)
        print(time, flush=True)


main(*sys.argv[1:])
