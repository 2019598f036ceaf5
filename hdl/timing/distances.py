"""Cycles from an instruction's issue to the next issue, to its first beat, and to its engine."""

from ..mxm.beats import Beats
from ..scalars import Scalars
from ..sequencer import Sequencer
from ..spec.config import Config
from ..spec.isa import Instruction, Op
from ..vxm import Vxm
from ..vxm.engine import Engine


def next_issue(config: Config, op: Op, wait: int = 0, bits: int = 0, right: int = 0) -> int:
    """Cycles from the issue of an instruction to the next issue.

    `bits` and `right` are an INDEX's operands. The time that a NOP's `turns`, `blocks` or
    `register` add is not included.
    """
    return Sequencer.issue_cycles(config, op, bits, right) + wait


def issue_cycles(config: Config, instruction: Instruction) -> int:
    """`next_issue` for an instruction, with its wait and, for an INDEX, its `bits` and `right`."""
    index = [instruction[name] for name in ("bits", "right")] if instruction.op is Op.INDEX else []
    return next_issue(config, instruction.op, instruction.wait, *index)


def mxm_beat(config: Config) -> int:
    """Cycles from the issue of an MXM to its first beat."""
    return Sequencer.latency(config, Op.MXM) + Beats.latency(config)


def vxm_beat(config: Config) -> int:
    """Cycles from the issue of a VXM to its first beat."""
    return Sequencer.latency(config, Op.VXM) + Engine.LATENCY


def sfu_beat(config: Config) -> int:
    """Cycles from the issue of an SFU to its first beat."""
    return Sequencer.latency(config, Op.SFU) + Scalars.COMMAND_LATENCY


def engine_start(config: Config, op: Op) -> int:
    """Cycles from the issue of an MXM, VXM or SFU to the first cycle in which it has its engine.

    From that cycle on it overwrites the operands of the instruction before it.
    """
    if config.profile.instruction_rows and op is Op.VXM:
        return vxm_beat(config) - Vxm.entering_cycles(config)
    return 2
