"""PyTorch on the processor in `cargo xtask bench --training`: training_torch.py FOLDER THREADS. The protocol is training.py's.

The network is ours: 64-32 with ReLU, He's initial weights, Adam with the same rate, which falls by the same factor, and 32
rows a step. Batches are cut from one shuffled tensor, as a data loader would cost several times the training.
"""

import json
import sys
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import torch
from torch import nn

EPOCHS, BATCH = 10, 32


def fit(x, y, tiers):
    net = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, tiers))
    for layer in net[::2]:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    loss = nn.CrossEntropyLoss()
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.93**epoch
        order = torch.randperm(len(x))
        xs, ys = x[order], y[order]
        for xb, yb in zip(xs.split(BATCH), ys.split(BATCH)):
            optimizer.zero_grad()
            loss(net(xb), yb).backward()
            optimizer.step()
    return net


def main(folder, threads):
    torch.manual_seed(7)
    torch.set_num_threads(int(threads))
    print(json.dumps({"PyTorch": torch.__version__.split("+")[0]}), flush=True)
    for line in sys.stdin:
        name, _, _, file = line.split()
        place = Path(folder) / name
        sizes = json.loads((place / "set.json").read_text())
        read = lambda part: torch.from_numpy(np.fromfile(place / f"{part}.dense", np.float32).reshape(-1, sizes["dense"]))
        x, held = read("train"), read("held")
        y = torch.from_numpy(np.fromfile(place / "train.tier", np.uint8).astype(np.int64) - 1)
        before = perf_counter_ns()
        net = fit(x, y, sizes["tiers"])
        time = perf_counter_ns() - before
        with torch.no_grad():
            net(held).softmax(1).numpy().astype(np.float32).tofile(file)
        print(json.dumps({"ns": time, "chose": EPOCHS}), flush=True)


main(*sys.argv[1:])
