"""Kernels of attention up to the scores: queries, keys and values of this position, and the scores of all heads."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ....hdl.mxm.mxm import Mxm
from ....hdl.spec.isa import Address, Instruction, MxmBlocks, Op, Reduce, To, VxmBlocks
from ....hdl.timing import Unit, mxm_beat, vxm_beat
from ...model.graph import Kind, Operation
from ...model.integer_graph import keys_at_once
from ...quant.model import FRACTION
from ..builder import REDUCED, Builder, log2, moved_by
from ..chained import turned
from ..distances import stream_offset
from ..steps import After, Step, best, step


def heads(builder: Builder, operation: Operation) -> list[Step]:
    """Writes this position's queries from `qk` to `q`, and its keys to the cache; a ROTATE turns
    both before, the keys on their way to the cache if `keys_at_once`; in a chained tile both have been turned, and queries
    are where they must be. If the cache lies in external memory, its keys stay where
    `keys_buffer` says."""
    layout, config, raw, head = builder.layout, builder.config, builder.buffer["qk"], builder.head_granules
    matrix, queries = layout.matrices["qk"], moved_by(raw, layout.in_granules(layout.kv_heads))
    per_head, values = layout.head * matrix.group_inner // config.cols, layout.matrices["v"]
    # The passes over heads fit between the results of the values, if these come in groups of inputs.
    by_group = values.group_inner if layout.input_groups(builder.graph.find("v")) > 1 else 0
    rounds = partial(builder.rounds, interval=by_group)
    keys, by_head, steps = builder.buffer[keys_buffer(operation)], {"inner": head, "x_hop": head}, []
    if turned(layout):
        return to_cache(builder, rounds("keys", builder.shape.n_kv_heads, per_head, **by_head, x=raw, **_key_place(builder)))
    if operation.kind is Kind.ROTATE:
        by_head = {"pair": 1, "by_vector": 1, "y": builder.buffer["turn"], "y_step": 1, "inner": 2 * head, "x_hop": head}
    if keys_at_once(builder.graph):
        steps += to_cache(builder, rounds("keys", builder.shape.n_kv_heads, per_head, **by_head, x=raw, **_key_place(builder),
                                          shift=FRACTION + 14))
    else:
        if operation.kind is Kind.ROTATE:
            steps.append(best(rounds("turn keys", builder.shape.n_kv_heads, per_head, **by_head, x=raw, dst=keys,
                                     dst_hop=head, shift=14)))
        if not builder.place.far_cache:
            steps += cache_keys(builder, keys, rounds)
    shift = FRACTION + (14 if operation.kind is Kind.ROTATE else 0)
    steps.append(best(rounds("queries", builder.shape.n_heads, per_head, **by_head, x=queries, dst=builder.buffer["q"],
                             dst_hop=head, shift=shift, narrow=1)))
    return steps


def queries_first(steps: list[Step]) -> list[Step]:
    """The steps of `heads`, with the queries before the keys go to the cache."""
    *made, queries = steps
    cached = next(number for number, each in enumerate(made) if each.choices[0].instructions[0]["to"] is To.KEYS)
    return [*made[:cached], queries, *made[cached:]]


def keys_buffer(operation: Operation) -> str:
    """The buffer with this position's keys behind a ROTATE or a SPLIT."""
    return "k" if operation.kind is Kind.ROTATE else "qk"


def cache_keys(builder: Builder, keys: int | Address, rounds: Callable[..., list[Instruction]]) -> list[Step]:
    """Writes a position's keys from granule `keys` on to the cache. `rounds`: makes the choices, as `Builder.rounds`."""
    layout, config, head = builder.layout, builder.config, builder.head_granules
    return to_cache(builder, rounds(
        "keys", builder.shape.n_kv_heads, layout.head * layout.matrices["qk"].group_inner // config.cols, x=keys,
        x_hop=head, inner=head, plus=1, y=builder.place.constant("key_offset"), y_step=1, y_hop=head,
        shift=FRACTION, **_key_place(builder)))


def _key_place(builder):
    """Operands that say where a position's keys go in the cache."""
    return {"dst": builder.registers.address("key"), "narrow": 1, "to": To.KEYS,
            "dst_hop": builder.layout.key_hop * builder.config.granules_per_word}


def cache_values(builder: Builder, values: int | Address | None = None) -> list[Step]:
    """Writes a position's values from granule `values` on to the cache; without it, this position's, which are in the buffer
    `v`. An instruction has a round for each result, or, where heads are no whole results, for each head."""
    layout, matrix, beats = builder.layout, builder.layout.matrices["v"], builder.config.beats_per_result
    values = builder.buffer["v"] if values is None else values
    place, hop = builder.registers.address("value"), layout.value_hop * beats
    count, granules, parts = layout.kv_heads // builder.config.cols, beats, 1
    if layout.value_head > layout.head:
        count, granules, parts = builder.shape.n_kv_heads, builder.head_granules, layout.value_head // builder.config.cols
    steps = []
    for part in range(parts):
        value = {"x": moved_by(values, part * beats), "x_hop": granules, "inner": min(beats, granules - part * beats),
                 "dst": moved_by(place, part * hop), "dst_hop": parts * hop, "narrow": 1, "to": To.VALUES,
                 "shift": builder.shifts["cached values"]}
        if builder.place.streamed:
            choices = builder.rounds("values to the cache", count, matrix.inner * granules // beats, **value)
        else:
            choices = [builder.op(Op.VXM, "values to the cache", **builder.second_engine, x_step=1, outer=count, **value)]
        steps += to_cache(builder, choices)
    return steps


def to_cache(builder: Builder, choices: list[Instruction]) -> list[Step]:
    """Steps that write keys or values to the cache, from the instructions that can do it.

    If a word of the cache takes two beats (`Config.wide_beats`), a first step writes the low halves of the values, a
    second the high ones. If entries
    come from external memory meanwhile, a value is written every `fill_cycles`, in cycles between them.
    """
    if apart := builder.place.fill_cycles:
        choices = [replace(choices[0], operands=choices[0].operands
                           | {"inner": 1, "middle": choices[0]["inner"], "interval": apart})]
    return [best([replace(choice, operands=choice.operands | half) for choice in choices])
            for half in (({}, {"high": 1}) if builder.config.wide_beats > 1 else ({},))]


def scores(builder: Builder, operation: Operation, fewest: int = 1) -> list[Step]:
    """Computes the scores of all heads. The step is a section's last, since its cycles grow with
    the number of blocks, of which there are at least `fewest`."""
    layout, config, shape = builder.layout, builder.config, builder.shape
    words, passes = layout.head // config.rows, config.block // config.cols
    beats, stored = words * config.wide_beats, words * layout.halves
    wide = {"wide": 1} if layout.halves > 1 else {}
    mxm = builder.op(Op.MXM, "scores", act=builder.word("q"), act_hop=words, wgt=builder.place.keys, wgt_step=stored,
                     wgt_hop=layout.key_hop * layout.halves, wrap=shape.n_kv_heads, inner=beats, outer=shape.n_heads,
                     **in_blocks(builder, MxmBlocks.MIDDLE, passes), **wide)
    vxm = builder.op(Op.VXM, "scores", stream=1, by_vector=1, y=builder.place.constant("score"), y_hop=1,
                     dst=builder.buffer["score"], dst_hop=layout.in_granules(layout.context), inner=config.beats_per_result,
                     interval=max(beats, config.beats_per_result), outer=shape.n_heads,
                     **in_blocks(builder, VxmBlocks.MIDDLE, passes), shift=builder.shifts[operation.name], to=To.MEM, mask=1,
                     reduce=Reduce.MAX, into=REDUCED)
    # The scheduler finds the cycle for the fewest blocks, with which inputs are read the soonest. With more blocks
    # the VXM is in use for longer, and so the step comes after all other beats of the VXM.
    one = tuple(replace(part, operands=part.operands | {"middle": passes * fewest}) for part in (mxm, vxm))
    offset = stream_offset(config, beats)
    # Keys must be written before they are read. Values are read much later; but if W-RAM has one port, they
    # must be written, too, before the MXM reads anything. What comes from external memory is there before.
    written = (Unit.KEY_WRITE, Unit.VALUE_WRITE) if config.wram_ports == 1 else (Unit.KEY_WRITE,)
    written = () if builder.place.far_cache else written
    read = 1 - mxm_beat(config) - Mxm.read_latency(config) - (fewest - 1) * passes * max(beats, config.beats_per_result)
    # The VXM is the last instruction before those of attention.
    after = (After(Unit.VXM_BEAT, 1 - vxm_beat(config) - offset), *(After(unit, read) for unit in written),
             After(Unit.ISSUE, 1 - offset))
    return [step(mxm, vxm, offsets=(0, offset), after=after, planned=one)]


def in_blocks(builder: Builder, which: MxmBlocks | VxmBlocks,
              times: int) -> dict[str, int | Address | MxmBlocks | VxmBlocks]:
    """The operands that make a count of an MXM or a VXM `times` times the number of blocks;
    `which`: the count."""
    name, register = which.name.lower(), f"{times} blocks"
    if builder.place.blocks:
        return {name: times * builder.place.blocks}
    if register in builder.registers:
        return {name: builder.registers.address(register)}
    return {name: log2(times), "blocks": which}
