"""The Llama family: RMS norms, rotary embedding, grouped queries, a gated feed-forward block (SwiGLU).

Llama 2: Touvron et al., 2023, arXiv 2307.09288. Rotary embedding turns neighbouring pairs (2i, 2i + 1) of each head, as
llama2.c and GGUF files have them.
"""

from ..config import ModelConfig
from ..graph import Graph, Kind, Number, Operation, Phase, Value

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(config: ModelConfig) -> tuple[Shapes, Shapes, Shapes]:
    """Shapes of the weights before the layers, of one layer, and after the layers, by name."""
    dim, heads_dim, kv_dim, hidden = config.dim, config.heads_dim, config.kv_dim, config.hidden_dim
    layer = {
        "attention_norm": (dim,), "wq": (heads_dim, dim), "wk": (kv_dim, dim), "wv": (kv_dim, dim), "wo": (dim, heads_dim),
        "ffn_norm": (dim,), "w1": (hidden, dim), "w2": (dim, hidden), "w3": (hidden, dim),
    }
    end = {"final_norm": (dim,)} | ({} if config.tied else {"classifier": (config.vocab_size, dim)})
    return {"embedding": (config.vocab_size, dim)}, layer, end


def graph(config: ModelConfig) -> Graph:
    """The operations of a token."""
    dim, hidden, wide, narrow = config.dim, config.hidden_dim, Number.WIDE, Number.NARROW
    heads, kv_heads = config.n_heads, config.n_kv_heads
    both = (heads + kv_heads) * config.head_dim

    def op(kind, name, inputs, output, phase, **how):
        return Operation(kind=kind, name=name, inputs=tuple(inputs.split()), output=output, phase=phase, **how)

    def norm(name, residual, output):
        return op(Kind.NORM, name, residual, Value(output, dim, narrow), Phase.NORM, weights=(name,), function="rms")

    begin = (
        op(Kind.EMBED, "embedding", "token", Value("x", dim, wide), Phase.EMBEDDING, weights=("embedding",)),
        op(Kind.ANGLES, "angles", "position", Value("angles", config.head_dim, Number.ANGLES), Phase.EMBEDDING),
    )
    layer = (
        norm("attention_norm", "x", "attention_input"),
        op(Kind.LINEAR, "qk", "attention_input", Value("qk", both, wide, heads + kv_heads), Phase.QKV,
           weights=("wq", "wk"), scaled=True),
        op(Kind.LINEAR, "v", "attention_input", Value("v", config.kv_dim, wide, kv_heads), Phase.QKV, weights=("wv",),
           scaled=True),
        op(Kind.ROTATE, "rotate", "qk angles", Value("turned", both, wide, heads + kv_heads), Phase.QKV),
        op(Kind.SCORES, "scores", "turned", Value("score", heads * config.seq_len, wide, heads), Phase.SCORES),
        op(Kind.SOFTMAX, "softmax", "score", Value("weight", heads * config.seq_len, narrow, heads), Phase.SOFTMAX),
        op(Kind.VALUES, "values", "weight v", Value("o", config.heads_dim, narrow, heads), Phase.VALUES),
        op(Kind.LINEAR, "wo", "o", Value("attended", dim, wide), Phase.OUTPUT, weights=("wo",)),
        op(Kind.ADD, "attention_add", "x attended", Value("middle", dim, wide), Phase.OUTPUT),
        norm("ffn_norm", "middle", "ffn_input"),
        op(Kind.LINEAR, "w1", "ffn_input", Value("gate", hidden, wide), Phase.FFN, weights=("w1",), scaled=True),
        op(Kind.LINEAR, "w3", "ffn_input", Value("up", hidden, wide), Phase.FFN, weights=("w3",), scaled=True),
        op(Kind.ACTIVATE, "silu", "gate", Value("activated", hidden, wide), Phase.FFN, function="silu"),
        op(Kind.MULTIPLY, "gated", "activated up", Value("hidden", hidden, wide), Phase.FFN),
        op(Kind.LINEAR, "w2", "hidden", Value("out", dim, wide), Phase.FFN, weights=("w2",), scaled=True),
        op(Kind.ADD, "ffn_add", "middle out", Value("x", dim, wide), Phase.FFN),
    )
    end = (
        norm("final_norm", "x", "final_input"),
        op(Kind.LINEAR, "classifier", "final_input", Value("logits", config.vocab_size, wide), Phase.CLASSIFIER,
           weights=("classifier",)),
        op(Kind.CHOOSE, "choice", "logits", Value("chosen", 1, Number.INDEX), Phase.CONTROL),
    )
    return Graph(config, begin, layer, end)
