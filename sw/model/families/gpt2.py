"""The GPT-2 family: layer norms with biases, learned positions, biases on every matrix, GELU.

Radford et al., 2019; `transformers` calls its activation "gelu_new". Matrices are [outputs, inputs], unlike the
checkpoints' own. The classifier has no bias, and is usually the embedding.
"""

from ..config import ModelConfig
from ..graph import Graph, Kind, Number, Operation, Phase, Value
from .llama import Shapes


def weight_shapes(config: ModelConfig) -> tuple[Shapes, Shapes, Shapes]:
    """Shapes of the weights before the layers, of one layer, and after the layers, by name."""
    dim, kv_dim, hidden = config.dim, config.kv_dim, config.hidden_dim
    matrices = {"wq": (dim, dim), "wk": (kv_dim, dim), "wv": (kv_dim, dim), "wo": (dim, dim), "w1": (hidden, dim),
                "w2": (dim, hidden)}
    norms = {"attention_norm": (dim,), "ffn_norm": (dim,)}
    layer = {}
    for name, shape in (norms | matrices).items():
        layer |= {name: shape, f"{name}_bias": shape[:1]}
    end = {"final_norm": (dim,), "final_norm_bias": (dim,)}
    end |= {} if config.tied else {"classifier": (config.vocab_size, dim)}
    return {"embedding": (config.vocab_size, dim), "positions": (config.seq_len, dim)}, layer, end


def graph(config: ModelConfig) -> Graph:
    """The operations of a token."""
    dim, hidden, wide, narrow = config.dim, config.hidden_dim, Number.WIDE, Number.NARROW
    heads, kv_heads = config.n_heads, config.n_kv_heads
    both = (heads + kv_heads) * config.head_dim

    def op(kind, name, inputs, output, phase, weights="", bias="", **how):
        return Operation(kind=kind, name=name, inputs=tuple(inputs.split()), output=output, phase=phase,
                         weights=tuple(weights.split()), bias=tuple(bias.split()), **how)

    def norm(name, residual, output):
        return op(Kind.NORM, name, residual, Value(output, dim, narrow), Phase.NORM, name, f"{name}_bias",
                  function="layer")

    begin = (
        op(Kind.EMBED, "embedding", "token", Value("embedded", dim, wide), Phase.EMBEDDING, "embedding"),
        op(Kind.POSITION, "positions", "embedded position", Value("x", dim, wide), Phase.EMBEDDING, "positions"),
    )
    layer = (
        norm("attention_norm", "x", "attention_input"),
        op(Kind.LINEAR, "qk", "attention_input", Value("qk", both, wide, heads + kv_heads), Phase.QKV, "wq wk",
           "wq_bias wk_bias", scaled=True),
        op(Kind.LINEAR, "v", "attention_input", Value("v", config.kv_dim, wide, kv_heads), Phase.QKV, "wv", "wv_bias",
           scaled=True),
        op(Kind.SCORES, "scores", "qk", Value("score", heads * config.seq_len, wide, heads), Phase.SCORES),
        op(Kind.SOFTMAX, "softmax", "score", Value("weight", heads * config.seq_len, narrow, heads), Phase.SOFTMAX),
        op(Kind.VALUES, "values", "weight v", Value("o", dim, narrow, heads), Phase.VALUES),
        op(Kind.LINEAR, "wo", "o", Value("attended", dim, wide), Phase.OUTPUT, "wo", "wo_bias"),
        op(Kind.ADD, "attention_add", "x attended", Value("middle", dim, wide), Phase.OUTPUT),
        norm("ffn_norm", "middle", "ffn_input"),
        op(Kind.LINEAR, "w1", "ffn_input", Value("gate", hidden, wide), Phase.FFN, "w1", "w1_bias", scaled=True),
        op(Kind.ACTIVATE, "gelu", "gate", Value("hidden", hidden, wide), Phase.FFN, function="gelu"),
        op(Kind.LINEAR, "w2", "hidden", Value("out", dim, wide), Phase.FFN, "w2", "w2_bias", scaled=True),
        op(Kind.ADD, "ffn_add", "middle out", Value("x", dim, wide), Phase.FFN),
    )
    end = (
        norm("final_norm", "x", "final_input"),
        op(Kind.LINEAR, "classifier", "final_input", Value("logits", config.vocab_size, wide), Phase.CLASSIFIER,
           "classifier"),
        op(Kind.CHOOSE, "choice", "logits", Value("chosen", 1, Number.INDEX), Phase.CONTROL),
    )
    return Graph(config, begin, layer, end)
