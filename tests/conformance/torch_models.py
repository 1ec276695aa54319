"""Trains small PyTorch networks, and exports them as PyTorch does by default and as it did before version 2.9.

    python torch_models.py FOLDER     writes FOLDER/torch-NAME.onnx

PyTorch's package for Linux brings gigabytes of CUDA along, so this is run by hand, in an environment of its own
(requirements-torch.txt). The exported models are ours, small, and committed; models.py runs them everywhere.
"""

import pathlib
import sys
import warnings

import onnx
import torch
from torch import nn

STEPS, FEATURES, CHANNELS, ITEMS, TIERS = 24, 16, 6, 200, 5


class Sequence(nn.Module):
    """Channels over time, through a recurrent layer, to tiers."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer(CHANNELS, 32, batch_first=True), nn.Linear(32, TIERS)

    def forward(self, x):
        return torch.softmax(self.head(self.layer(x)[0][:, -1]), 1)


class Items(nn.Module):
    """The last items bought, as embeddings, convolved, pooled, to tiers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(ITEMS, 8)
        self.convolution, self.head = nn.Conv1d(8, 16, 3, padding=1), nn.Linear(16, TIERS)

    def forward(self, x):
        x = torch.relu(self.convolution(self.embedding(x).transpose(1, 2)))
        return torch.softmax(self.head(x.mean(2)), 1)


def mlp():
    return nn.Sequential(
        nn.Linear(FEATURES, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(64, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, TIERS), nn.Softmax(1),
    )  # fmt: skip


def conv1d():
    return nn.Sequential(
        nn.Conv1d(CHANNELS, 16, 5, padding=2), nn.LeakyReLU(), nn.MaxPool1d(2),
        nn.Conv1d(16, 24, 3), nn.ReLU(), nn.AvgPool1d(2), nn.Flatten(),
        nn.Linear(120, TIERS), nn.Tanh(),
    )  # fmt: skip


WIDE = torch.randn(256, FEATURES, generator=torch.Generator().manual_seed(1))
TIME = torch.randn(256, STEPS, CHANNELS, generator=torch.Generator().manual_seed(2))
CODES = torch.randint(0, ITEMS, (256, STEPS), generator=torch.Generator().manual_seed(3))
NETWORKS = [
    ("mlp", mlp, WIDE),
    ("conv1d", conv1d, TIME.transpose(1, 2).contiguous()),
    ("gru", lambda: Sequence(nn.GRU), TIME),
    ("lstm", lambda: Sequence(nn.LSTM), TIME),
    ("embedding", Items, CODES),
]


def train(network, inputs):
    target = torch.randint(0, TIERS, (len(inputs),), generator=torch.Generator().manual_seed(4))
    wanted = nn.functional.one_hot(target, TIERS).float()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.mse_loss(network(inputs), wanted).backward()
        optimiser.step()
    return network.eval()


def export(folder, name, network, inputs):
    names = {"input_names": ["features"], "output_names": ["scores"]}
    path = folder / f"torch-{name}.onnx"
    batch = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(network, (inputs[:2],), path, dynamic_shapes=batch, external_data=False, verbose=False, **names)
    strip(path)
    path = folder / f"torch-{name}-before-2.9.onnx"
    axes = {"features": {0: "batch"}, "scores": {0: "batch"}}
    torch.onnx.export(network, (inputs[:2],), path, dynamic_axes=axes, opset_version=17, dynamo=False, **names)
    strip(path)


def strip(path):
    """Leaves out the exporter's stack traces, which name this machine's folders."""
    model = onnx.load(path)
    for thing in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, model.graph, model]:
        del thing.metadata_props[:]
    for node in model.graph.node:
        node.ClearField("doc_string")
    onnx.save(model, path)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    torch.use_deterministic_algorithms(True)
    for name, make, inputs in NETWORKS:
        torch.manual_seed(0)
        export(pathlib.Path(sys.argv[1]), name, train(make(), inputs), inputs)
