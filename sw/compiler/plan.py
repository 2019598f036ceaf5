"""Residency: decides whether a model is resident or streamed, and finds the layout with the largest
context."""

from itertools import product

from ...hdl.spec.config import MOST_TOKEN_BITS, Config
from ..model.config import ModelConfig
from ..model.graph import Kind
from ..model.integer_graph import WEIGHT_GROUP, maker
from ..quant.outline import Outline
from .external import ExternalLayout, burst_bits
from .layout import CompileError, Layout
from .streamed import StreamedLayout

FEWEST_POSITIONS = 16
"""The shortest context that is tried, in positions, unless the model's own is shorter."""
MOST_POSITIONS = 2048
"""The longest context that is tried unless another is asked for: a longer one takes memory that most texts do not need."""
ADVICE = ": choose a larger configuration"


def lay_out_model(config: Config, outline: Outline, context: int | None = None) -> Layout:
    """The layout of a model: resident if it fits, else a `StreamedLayout`. CompileError if it can
    be neither.

    `context`: the positions that it must have room for; without it the layout has the largest context that fits, up to
    the model's and to `MOST_POSITIONS`. CompileError for more positions than the model has.
    """
    try:
        return plan(config, outline, context)
    except CompileError as resident:
        return plan_streamed(config, outline, str(resident), context)


def _first_context(outline, context):
    """The context that is tried first."""
    most = outline.config.seq_len
    if context is not None and context > most:
        raise CompileError(f"the model has {most} positions, and a context of {context} is asked for")
    return context or min(most, MOST_POSITIONS)


def plan(config: Config, outline: Outline, context: int | None = None) -> Layout:
    """The resident layout with the largest context that fits: the model's, or a half, a quarter and
    so on; or the one that is asked for, see `lay_out_model`.

    CompileError if none of at least `FEWEST_POSITIONS` fits, or if the tile cannot run the model at all.
    """
    check_shape(config, outline)
    by_head = {each.name for each in outline.graph.of_kind(Kind.LINEAR) if maker(outline.graph, each).kind is Kind.VALUES}
    if outline.offsets and (outline.config.head_dim % config.block or WEIGHT_GROUP % config.rows):
        raise CompileError(f"weights of 4 bits with offsets need blocks of {WEIGHT_GROUP} and heads of {config.block} values, "
                           f"which {config.name} does not have{ADVICE}")
    if any(group % config.rows for name, group in outline.groups.items() if name not in by_head):
        raise CompileError(f"groups of {min(outline.groups.values())} inputs are not a multiple of the "
                           f"{config.rows} rows of {config.name}: quantise in larger groups")
    only, context = context is not None, _first_context(outline, context)
    while True:
        layout = Layout(config, outline, context)
        fits = layout.words <= config.wram_depth and layout.granules <= config.granules and layout.readable
        if fits and layout.context << 14 < 1 << config.accumulator_bits - 1:
            return layout
        if only or context <= FEWEST_POSITIONS:
            parts = "" if config.whole else " (of which {act} for the MXM, and {x} and {y} granules for the VXM)".format(
                **{port: window.depth for port, window in config.windows.items()})
            raise CompileError(f"with {context} positions the model needs {layout.words} W-RAM words and "
                               f"{-(-layout.granules // config.granules_per_word)} MEM words, and {config.name} has "
                               f"{config.wram_depth} and {config.mem_depth}{parts}{ADVICE}")
        context //= 2


def plan_streamed(config: Config, outline: Outline, resident: str = "", context: int | None = None) -> StreamedLayout:
    """The streamed layout with the largest context whose KV cache takes at most half of W-RAM.

    The shortest context that is tried may take more. `resident`: why the model cannot be resident,
    with which the message of an error begins. CompileError if no layout fits, or if the tile cannot
    stream.
    """
    if config.memory:
        return plan_external(config, outline, resident, context)
    check_shape(config, outline)
    reasons = [(outline.balanced, "the residual's channels must have one unit"),
               (any(value.first for value in outline.graph.values), "inputs of matrices must not have halves"),
               (any(value.static for value in outline.graph.values), "inputs of matrices must have scalars"),
               (config.weight_bits != 8, "weights need 8 bits"),
               (config.wram_ports == 1, "W-RAM needs a second port, for weights that come during a run"),
               (not config.whole, "all of MEM must be readable")]
    for missing, what in reasons:
        if missing:
            raise CompileError(f"{resident.removesuffix(ADVICE)}; streamed, {what}{ADVICE}")
    only, context = context is not None, _first_context(outline, context)
    context = max(config.block, 1 << (context - 1).bit_length())
    fewest = context if only else max(config.block, min(context, FEWEST_POSITIONS))
    while True:
        for whole in (True, False):
            layout = StreamedLayout(config, outline, context, whole, resident)
            if layout.fits and (layout.buffer <= config.wram_depth // 2 or context == fewest):
                return layout
        if context == fewest:
            widest = max(matrix.inner for matrix in layout.matrices.values())
            raise CompileError(
                f"{resident.removesuffix(ADVICE)}; streamed, {layout.buffer} W-RAM words for the KV cache, 2 x {widest} for "
                f"weights, and {-(-layout.granules // config.granules_per_word)} MEM words{ADVICE}")
        context //= 2


def plan_external(config: Config, outline: Outline, resident: str = "", context: int | None = None) -> ExternalLayout:
    """The layout in external memory with the largest context whose KV cache takes at most half of W-RAM, and the
    largest segments for which MEM has room.

    The shortest context that is tried may take more. If it takes more than there is, or a longer one is asked for, the KV
    cache is in external memory, and W-RAM has that of a layer. Parameters and errors are those of `plan_streamed`.
    """
    check_shape(config, outline)
    word_bits = config.cols * config.rows * config.weight_bits
    reasons = [(outline.balanced, "the residual's channels must have one unit"),
               (any(value.first for value in outline.graph.values), "inputs of matrices must not have halves"),
               (any(value.static for value in outline.graph.values), "inputs of matrices must have scalars"),
               (not config.whole, "all of MEM must be readable"),
               (word_bits % burst_bits(config), f"a word of W-RAM, {word_bits} bits, must be a multiple of a burst of "
                                                f"{burst_bits(config)}"),
               (config.wram_depth & config.wram_depth - 1, "wram_depth must be a power of two"),
               (any(group % config.rows for group in outline.groups.values()),
                f"groups of inputs must be multiples of the {config.rows} rows")]
    for missing, what in reasons:
        if missing:
            raise CompileError(f"{resident.removesuffix(ADVICE)}; in external memory, {what}{ADVICE}")
    only, context = context is not None, _first_context(outline, context)
    context = max(config.block, 1 << (context - 1).bit_length())
    fewest, half = context if only else max(config.block, min(context, FEWEST_POSITIONS)), config.wram_depth // 2
    contexts = [context >> shift for shift in range((context // fewest).bit_length())]
    # A copy from MEM to the cache goes through a block of positions: a column of keys, and a word of values.
    for far_cache in (False, True) if config.rows == config.cols else (False,):
        for positions, whole, shift in product(contexts, (True, False), range(6)):
            layout = ExternalLayout(config, outline, positions, whole, half >> shift, resident, far_cache)
            if layout.fits and (layout.room_words >= half // 2 or positions == fewest):
                layout.check_size()
                return layout
    raise CompileError(
        f"{resident.removesuffix(ADVICE)}; in external memory, {half - layout.room_words} W-RAM words of {half} for a "
        f"half of the KV cache{' of a layer' * far_cache}, and {-(-layout.granules // config.granules_per_word)} MEM words"
        f"{ADVICE}")


def check_shape(config: Config, outline: Outline) -> None:
    """CompileError for a model that the tile could not run even if its memories were larger."""
    model: ModelConfig = outline.config
    if outline.cache_bits != config.cache_bits:
        raise CompileError(f"the model has keys and values of {outline.cache_bits} bits, and {config.name} of "
                           f"{config.cache_bits}: quantise it for this tile")
    if outline.offsets and config.cache_bits == 4:
        raise CompileError(f"the model's classifier has weights of 8 bits, and {config.name} has only such of 4{ADVICE}")
    if model.head_dim % 2:
        raise CompileError(f"a head has {model.head_dim} values, and their number must be even")
    products = max(max(model.dim, model.hidden_dim) << config.weight_bits - 1, model.head_dim << 7) << 7
    if products >= 1 << config.accumulator_bits - 1:
        raise CompileError(f"dot products of {max(model.dim, model.hidden_dim)} values need more than the "
                           f"{config.accumulator_bits} bits of {config.name}'s sums{ADVICE}")
    if model.vocab_size > 1 << config.token_bits:
        needed = (model.vocab_size - 1).bit_length()
        cure = (f"no tile has more than {MOST_TOKEN_BITS}" if needed > MOST_TOKEN_BITS else
                f"choose a tile with token_bits={needed}{' that is not compact' * bool(config.compact)}")
        raise CompileError(f"a token of {config.name} has {config.token_bits} bits, and the model's vocabulary "
                           f"{model.vocab_size} entries: {cure}")
    functions = {operation.function for operation in outline.graph.of_kind(Kind.ACTIVATE)}
    if "gelu" in functions and not config.gelu:
        raise CompileError(f"the model needs GELU, and {config.name} has no table of it: choose a configuration with gelu=1")
