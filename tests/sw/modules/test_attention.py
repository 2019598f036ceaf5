"""Modules with causal attention: sequences become positions, each a run with the KV cache on the tile."""

import math

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'marey[torch]'")

from marey.sw.model.graph import Kind  # noqa: E402 - behind the check for PyTorch
from marey.sw.model.network_reference import run  # noqa: E402
from marey.sw.modules import compile  # noqa: E402
from marey.sw.modules.errors import ModuleError  # noqa: E402
from marey.sw.modules.exported import network_of  # noqa: E402

nn, functional = torch.nn, torch.nn.functional
SIZE, HEADS = 16, 4


def causal(count):
    return nn.Transformer.generate_square_subsequent_mask(count)


class Module(nn.Module):
    """A module of what `make` makes, whose `forward` is `call`."""

    def __init__(self, make, call):
        super().__init__()
        self.inner, self.call = make(), call

    def forward(self, x):
        return self.call(self.inner, x)


def fused(inner, x):
    """One matrix for queries, keys and values; the attention of PyTorch, for many heads."""
    batch, count, _ = x.shape
    q, k, v = (each.view(batch, count, HEADS, -1).transpose(1, 2) for each in inner(x).chunk(3, -1))
    made = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
    return made.transpose(1, 2).reshape(batch, count, SIZE)


def by_hand(inner, x, heads=HEADS, hide=lambda scores, later: scores.masked_fill(later, -math.inf)):
    """Products, a scale, a mask, a softmax."""
    batch, count, _ = x.shape
    q, k, v = (each(x).view(batch, count, heads, -1).transpose(1, 2) for each in inner)
    scores = hide(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), torch.ones(count, count).triu(1) == 1)
    return (functional.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)


def three(size=SIZE):
    return nn.ModuleList(nn.Linear(SIZE, size, bias=size == SIZE) for _ in range(3))


def added(scores, later):
    return scores + torch.zeros(later.shape).masked_fill(later, -1e9)


def chosen(scores, later):
    return torch.where(later, torch.finfo(torch.float32).min, scores)


def shared(inner, x):
    """Two queries for each key and value."""
    batch, count, _ = x.shape
    q, k, v = (each(x).view(batch, count, -1, 4).transpose(1, 2) for each in inner)
    k, v = k[:, :2], v[:, :2]
    return (
        functional.scaled_dot_product_attention(q, k, v, attn_mask=causal(count), enable_gqa=True)
        .transpose(1, 2)
        .flatten(2)
    )


def joined(inner, x):
    """A head each, one behind the other, before a matrix."""
    return inner[1](torch.cat([by_hand(head, x, heads=1) for head in inner[0]], dim=-1))


def block(**more):
    return nn.TransformerEncoderLayer(SIZE, HEADS, 24, batch_first=True, **more)


def masked_block(inner, x):
    return inner(x, src_mask=causal(x.shape[1]), is_causal=True)


MODULES = {
    "one matrix, PyTorch's attention": Module(lambda: nn.Linear(SIZE, 3 * SIZE), fused),
    "by hand": Module(three, by_hand),
    "one head": Module(three, lambda inner, x: by_hand(inner, x, 1)),
    "a mask that is added": Module(three, lambda inner, x: by_hand(inner, x, hide=added)),
    "a mask that chooses": Module(three, lambda inner, x: by_hand(inner, x, hide=chosen)),
    "queries that share keys": Module(three, shared),
    "joined heads": Module(
        lambda: nn.ModuleList([nn.ModuleList(three(8) for _ in range(2)), nn.Linear(SIZE, 5)]), joined
    ),
    "MultiheadAttention": Module(
        lambda: nn.MultiheadAttention(SIZE, HEADS, batch_first=True),
        lambda inner, x: inner(x, x, x, attn_mask=causal(x.shape[1]) < 0)[0],
    ),
    "a block, norms first": Module(lambda: block(norm_first=True), masked_block),
    "a block, norms last, the last position": Module(
        lambda: block(activation="gelu"), lambda inner, x: masked_block(inner, x)[:, -1]
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_network_computes_what_its_module_does(name):
    torch.manual_seed(1)
    module, example = MODULES[name].eval(), torch.randn(3, 5, SIZE)
    with torch.no_grad():
        found, expected = network_of(module, example), module(example)
    made = run(found.weights, example.numpy()).reshape(3, -1)[:, found.result.numpy()]
    # Two implementations of the same sums, one in float32.
    torch.testing.assert_close(torch.from_numpy(made).float(), expected, atol=1e-5, rtol=1e-4)
    assert found.weights.network.positions == 5 and any(found.weights.network.of_kind(Kind.SCORES))


TEXT = "a tile keeps its timetable, and the timetable keeps the tile. "


class Characters(nn.Module):
    """A small language model: characters and their places, a block, logits."""

    def __init__(self, alphabet, count):
        super().__init__()
        self.characters, self.places = nn.Embedding(alphabet, 32), nn.Embedding(count, 32)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True, dropout=0.0)
        self.logits = nn.Linear(32, alphabet)

    def forward(self, tokens):
        x = self.characters(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.logits(masked_block(self.block, x))


@pytest.fixture
def one_thread():
    """Threads of PyTorch would take each other's time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_language_model_of_characters_is_trained_and_runs_on_the_rtl(compiler, one_thread):
    torch.manual_seed(0)
    alphabet, count = sorted(set(TEXT)), 20
    text = torch.tensor([alphabet.index(each) for each in 3 * TEXT])
    rows = torch.stack([text[start : start + count + 1] for start in range(0, len(TEXT), 3)])
    model = Characters(len(alphabet), count)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()).backward()
        optimiser.step()
    compiled = compile(model, rows[:, :-1])

    def loss(logits, of):
        return float(functional.cross_entropy(logits.flatten(0, 1), of[:, 1:].flatten()))

    with torch.no_grad():
        exact = model.eval()(rows[:, :-1])
    golden = compiled.golden(rows[:, :-1])
    # The first characters of a row cannot be known; the rest it has learned.
    assert loss(exact, rows) < 0.5 and loss(golden, rows) < 1.02 * loss(exact, rows)
    assert torch.equal(compiled(rows[:2, :-1]), golden[:2])
    # A shorter sequence gives the same as its beginning.
    assert torch.equal(compiled(rows[2:3, :9]), golden[2:3, :9])
    cycles, tally = compiled.cycles, compiled.tile.tally
    compiled.close()
    assert len(cycles) == count and cycles[0] == cycles[7] < cycles[8] < cycles[19]
    assert (
        tally.measured == tally.predicted == 2 * sum(cycles) + sum(cycles[:9]) and tally.runs == 2 * count + 9
    )
    assert compiled.report(19)["cycles"] == cycles[19] and "softmax" in str(compiled.timetable(19))
    assert f"{cycles[0]:,} to {cycles[19]:,} cycles a position" in repr(compiled)
    with pytest.raises(ValueError, match="sequences of up to 20"):
        compiled(rows)


def window(inner, x):
    count = x.shape[1]
    return inner(x, x, x, attn_mask=~torch.ones(count, count, dtype=torch.bool).tril().triu(-1))[0]


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (
            lambda inner, x: inner(x, x, x)[0],
            r"Module\.inner: attention without a causal mask cannot be mapped",
        ),
        (window, r"Module\.inner: attention with a mask that is not causal cannot be mapped"),
        (
            lambda inner, x: inner(x[:, :1], x, x, need_weights=False)[0],
            r"Module\.inner: queries, keys and values must be",
        ),
        (
            lambda inner, x: inner(x.relu(), x, x, attn_mask=causal(x.shape[1]))[1],
            "must return one tensor|cannot be mapped",
        ),
    ],
)
def test_attention_that_cannot_be_mapped_is_named_with_its_place(call, what):
    module = Module(lambda: nn.MultiheadAttention(SIZE, HEADS, batch_first=True), call).eval()
    with pytest.raises(ModuleError, match=what) as refusal:
        network_of(module, torch.randn(3, 5, SIZE))
    assert "\n" not in str(refusal.value)


def test_attention_without_sequences_is_refused():
    def call(inner, x):
        x = x.view(-1, 2, SIZE)
        return functional.scaled_dot_product_attention(x, x, x, is_causal=True)

    with pytest.raises(ModuleError, match="Module: attention needs sequences"):
        network_of(Module(nn.Identity, call), torch.randn(3, 2 * SIZE))
