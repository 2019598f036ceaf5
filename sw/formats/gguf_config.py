"""A model's shape, from the metadata of a GGUF file."""

from dataclasses import replace

from gguf import Keys

from ..errors import FormatError
from ..model.config import ModelConfig
from . import gguf_tokenizer
from .checks import checked_config, within_window
from .gguf_file import File
from .gguf_tensors import ARCHITECTURES, ROPE_FACTORS, tensor_name

KEYS = {
    "dim": Keys.LLM.EMBEDDING_LENGTH, "hidden_dim": Keys.LLM.FEED_FORWARD_LENGTH,
    "n_layers": Keys.LLM.BLOCK_COUNT, "n_heads": Keys.Attention.HEAD_COUNT,
    "n_kv_heads": Keys.Attention.HEAD_COUNT_KV, "seq_len": Keys.LLM.CONTEXT_LENGTH,
    "vocab_size": Keys.LLM.VOCAB_SIZE, "rope_theta": Keys.Rope.FREQ_BASE,
    "norm_eps": Keys.Attention.LAYERNORM_RMS_EPS,
}
WIDTH = Keys.Attention.KEY_LENGTH
ROTARY = (Keys.Rope.DIMENSION_COUNT, Keys.Attention.VALUE_LENGTH)
"""Keys whose only possible value is the number of channels of a head."""
UNABLE = {Keys.LLM.EXPERT_COUNT: 0, Keys.LLM.EXPERT_USED_COUNT: 0, Keys.Split.LLM_KV_SPLIT_COUNT: 1}
"""Settings of a model, each with the only value that Marey can do."""
WINDOW = Keys.Attention.SLIDING_WINDOW
SCALING, FACTOR, OLD_FACTOR, TRAINED = (Keys.Rope.SCALING_TYPE, Keys.Rope.SCALING_FACTOR, "{arch}.rope.scale_linear",
                                        Keys.Rope.SCALING_ORIG_CTX_LEN)
SCALINGS = ("none", "linear")


def config_of(file: File) -> ModelConfig:
    """The model's shape, from the metadata. FormatError for one that is damaged, or that Marey
    cannot do.
    """
    if file.architecture not in ARCHITECTURES:
        raise FormatError(f"{file.path}: architecture {file.architecture[:80]!r}, and Marey reads "
                          f"{', '.join(map(repr, ARCHITECTURES))}")
    file.check_keys((*KEYS.values(), *ROTARY, *UNABLE, WIDTH, WINDOW, SCALING, FACTOR, OLD_FACTOR, TRAINED))
    for key, able in UNABLE.items():
        if (found := file.get(key, able)) != able:
            raise FormatError(f"{file.path}: {file.key(key)} is {str(found)[:80]!r}, and Marey can do only "
                              f"{able!r}")
    defaults = {"n_kv_heads": file.get(KEYS["n_heads"]), "rope_theta": 10000.0}
    values = {name: file.get(key, defaults.get(name)) for name, key in KEYS.items() if name != "vocab_size"}
    for name in ("rope_theta", "norm_eps"):
        if isinstance(values[name], float):
            # Metadata are float32, so 1e-5 is found as 9.9999997e-06.
            values[name] = float(f"{values[name]:.7g}")
    where = f"{file.path}: its metadata"
    width = file.get(WIDTH, 0) or None
    own = {"tied": tensor_name("classifier") not in file.headers(), "family": file.architecture, "head_width": width}
    config = checked_config(where, **values, **own, **gguf_tokenizer.facts(file))
    for key in ROTARY:
        if (found := file.get(key, config.head_dim)) != config.head_dim:
            raise FormatError(f"{file.path}: {file.key(key)} is {str(found)[:80]}, and Marey can do only the "
                              f"{config.head_dim} channels of a head")
    context = within_window(f"{file.path}: {file.key(WINDOW)}", file.get(WINDOW, config.seq_len), config.seq_len)
    return replace(config, seq_len=context, rope_factors=_rope_factors(file, config))


def _rope_factors(file: File, config: ModelConfig) -> tuple[float, ...]:
    """`ModelConfig.rope_factors`: a tensor of them, times the factor of a linear scaling."""
    kind = file.get(SCALING, "linear")
    if kind not in SCALINGS:
        raise FormatError(f"{file.path}: {file.key(SCALING)} is {str(kind)[:80]!r}, and Marey can do only "
                          f"{', '.join(map(repr, SCALINGS))}")
    factor = file.get(FACTOR, file.get(OLD_FACTOR, 1.0)) if kind == "linear" else 1.0
    shape = (config.head_dim // 2,)
    factors = [1.0] * shape[0]
    if ROPE_FACTORS in file.headers():
        if file.headers()[ROPE_FACTORS] != (shape, "F32"):
            raise FormatError(f"{file.path}: tensor {ROPE_FACTORS} is not F32 of shape {shape}: damaged?")
        factors = file.tensor(ROPE_FACTORS).tolist()
    if type(factor) not in (int, float) or not all(0 < factor * each < 1e12 for each in factors):
        raise FormatError(f"{file.path}: its rotary embedding is scaled by factors that are not positive, such as "
                          f"{file.key(FACTOR)} = {str(factor)[:40]}: damaged?")
    factors = tuple(factor * each for each in factors)
    return () if set(factors) == {1.0} else factors
