"""Modules become networks that compute what the modules compute; what has no mapping is named with
its place."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'marey[torch]'")

from marey.sw.model.graph import Kind  # noqa: E402 - behind the check for PyTorch
from marey.sw.model.network_reference import run  # noqa: E402
from marey.sw.modules.agreement import check_agreement  # noqa: E402
from marey.sw.modules.errors import ModuleError  # noqa: E402
from marey.sw.modules.exported import network_of  # noqa: E402

nn, functional = torch.nn, torch.nn.functional


class Gated(nn.Module):
    """Everything that is mapped, much of it written by hand."""

    def __init__(self, size):
        super().__init__()
        self.first, self.norm, self.rms = nn.Linear(size, 8), nn.LayerNorm(8), nn.RMSNorm(8)
        self.gain, self.bias = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.rand(8))
        self.matrix, self.drop = nn.Parameter(torch.randn(8, 8) / 3), nn.Dropout(0.5)

    def forward(self, x):
        x = functional.relu(self.first(x.flatten(1)))
        y = self.drop(self.norm(x) + x)
        y = y * torch.sigmoid(y) * functional.silu(x)
        y = functional.gelu(y @ self.matrix + self.bias) + functional.gelu(x, approximate="tanh")
        y = self.gain * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6))
        return self.rms(y).unsqueeze(1).reshape(len(x), 8)


def result(module, example):
    """(the network, its float result, the module's result)."""
    module.eval()
    with torch.no_grad():
        found, expected = network_of(module, example).weights, module(example)
        x = example.reshape(len(example), -1).numpy() if example.is_floating_point() else example.numpy()
        return found.network, run(found, x), expected.numpy()


@pytest.mark.parametrize("shape", [(5,), (2, 3), (1, 2, 2)])
def test_a_network_computes_what_its_module_does(shape):
    torch.manual_seed(1)
    _, found, expected = result(Gated(int(np.prod(shape))), torch.randn(4, *shape))
    # Two implementations of the same sums, one in float32.
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_table_and_a_chain_of_layers():
    torch.manual_seed(2)
    module = nn.Sequential(
        nn.Embedding(9, 6), nn.Linear(6, 7), nn.LayerNorm(7), nn.SiLU(inplace=True), nn.Linear(7, 3)
    )
    network, found, expected = result(module, torch.arange(9))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # The mean of the norm is subtracted from the matrix before it: no operation is needed for it.
    assert [each.kind for each in network.operations] == [
        Kind.EMBED,
        Kind.LINEAR,
        Kind.NORM,
        Kind.ACTIVATE,
        Kind.LINEAR,
    ]
    assert [each.name for each in network.operations] == ["0", "1", "2", "3", "4"]


class Place(nn.Module):
    """A module that cannot be mapped, in the midst of others."""

    def __init__(self, inner):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.ModuleDict({"mixer": inner})])

    def forward(self, x):
        return self.layers[1]["mixer"](self.layers[0](x))


class Handmade(nn.Module):
    def forward(self, x):
        return torch.sin(x) + 1


class TwoRows(nn.Module):
    def forward(self, x):
        return functional.softmax(x.reshape(-1, 2, 2) @ x.reshape(-1, 2, 2), dim=-1)


@pytest.mark.parametrize(
    ("inner", "what"),
    [
        (nn.Unflatten(1, (1, 4)), "view"),
        (
            nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 1, 3)),
            r"Place\.layers\.1\.mixer\.1: Conv1d cannot be mapped",
        ),
        (nn.BatchNorm1d(4), r"Place\.layers\.1\.mixer: BatchNorm1d cannot be mapped"),
        (
            nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 2)),
            r"Place\.layers\.1\.mixer\.1: a matrix \[2, 2\] reads vectors of 4 values",
        ),
        (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.LayerNorm(2)), r"mixer\.1: norms of a part of a vector"),
        (
            Handmade(),
            r"Place\.layers\.1\.mixer: sin in Handmade \(return torch\.sin\(x\) \+ 1\) cannot be mapped",
        ),
        (TwoRows(), r"mixer: matmul in TwoRows"),
        (nn.Tanh(), r"mixer: Tanh cannot"),
        (nn.GELU("tanh"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_has_no_mapping_is_named_with_its_place(inner, what):
    if what in (None, "view"):
        assert network_of(Place(inner).eval(), torch.randn(3, 4)).weights.network.source.size == 4
        return
    with pytest.raises(ModuleError, match=what):
        network_of(Place(inner).eval(), torch.randn(3, 4))


class Two(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("module", "example", "what"),
    [
        (nn.Linear(4, 4), torch.randn(4), "expected \\[batch"),
        (Two(), torch.randn(2, 4), "must return one tensor"),
        (nn.Identity(), torch.randn(2, 4), "nothing to compute"),
        (nn.Linear(3, 4), torch.randn(2, 4), "cannot be exported"),
        (nn.Embedding(4, 4), torch.zeros(2, 3, dtype=torch.long), "works on \\[2, 3, 4\\]"),
    ],
)
def test_modules_of_another_form_are_refused(module, example, what):
    with pytest.raises(ModuleError, match=what):
        network_of(module, example)


def test_a_graph_that_computes_something_else_is_refused():
    check_agreement("it", np.ones((2, 3)), torch.ones(2, 3) * (1 + 1e-5))
    for found, expected, what in (
        (np.ones((2, 3)), torch.ones(2, 3) * 1.001, "differs from the module's by up to 0.001"),
        (np.ones((2, 3)), torch.ones(2, 4), r"\[2, 3\] values, and the module \[2, 4\]"),
        (np.ones((2, 3)), torch.full((2, 3), torch.nan), "not finite"),
    ):
        with pytest.raises(ModuleError, match=what):
            check_agreement("it", found, expected)
