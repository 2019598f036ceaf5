"""The configuration of a model: its family and its shape, as a checkpoint's header states them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of a decoder-only language model.

    `family` names the function that writes the model's graph (see `marey.sw.model.families`). `dim`, `hidden_dim`:
    channels of the residual and of the feed-forward block. `seq_len`: positions that the model was trained for.
    `rope_theta`: base of the rotary embedding, for families that have one. `rope_factors`: by what the frequency of each pair
    of channels is divided, [head_dim / 2], or empty (see `rotary`). `head_width`: channels of a head; None is dim / n_heads.
    `tied`: the classifier is the embedding.
    `bos`: the token that begins a text; `eos`: the tokens that end one; the defaults are SentencePiece's.
    """

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = True
    bos: int = 1
    eos: tuple[int, ...] = (2,)
    family: str = "llama"
    rope_factors: tuple[float, ...] = ()
    head_width: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "eos", tuple(self.eos))  # JSON has lists
        object.__setattr__(self, "rope_factors", tuple(self.rope_factors))
        if self.head_width == self.dim // self.n_heads:
            object.__setattr__(self, "head_width", None)  # so that equal shapes are equal

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.head_width or self.dim // self.n_heads

    @property
    def heads_dim(self) -> int:
        """Channels of all queries of a position, and of attention's output."""
        return self.head_dim * self.n_heads

    @property
    def kv_dim(self) -> int:
        """Channels of all keys, or of all values, of a position."""
        return self.head_dim * self.n_kv_heads
