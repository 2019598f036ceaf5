"""The configuration of a model: its family and its shape, as a checkpoint's header states them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of a decoder-only language model.

    `family` names the function that writes the model's graph (see `marey.sw.model.families`). `dim`, `hidden_dim`:
    channels of the residual and of the feed-forward block. `seq_len`: positions that the model was trained for.
    `rope_theta`: base of the rotary embedding, for families that have one. `tied`: the classifier is the embedding.
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

    def __post_init__(self):
        object.__setattr__(self, "eos", tuple(self.eos))  # JSON has lists

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.dim // self.n_heads

    @property
    def kv_dim(self) -> int:
        """Channels of all keys, or of all values, of a position."""
        return self.head_dim * self.n_kv_heads
