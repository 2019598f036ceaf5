"""Greedy decoding on a device, held to the golden model at every step."""

from collections.abc import Iterator

import numpy as np

from marey.sw.program.program import Program
from marey.sw.quant.golden import Golden
from marey.sw.quant.model import QuantisedModel
from marey.sw.runtime.driver import Device


def greedy_steps(program: Program, model: QuantisedModel, device: Device, count: int,
                 first: int = 1) -> Iterator[tuple[int, int]]:
    """(token made, cycles) of each position, one run each, from token `first` on; logits, their scale and the choice are the
    golden model's."""
    golden, token, facts = Golden(model), first, program.model
    for position in range(count):
        logits, scale = golden.integers(np.array([token]), position)
        before = device.tally.measured
        made = device.run(token, position)
        assert np.array_equal(device.logits(), logits[0] * (scale[0, 0] * model.logit_unit)), position
        assert device.read_mem(facts.scale, 1)[0] == scale[0, 0]
        assert made == [int(logits[0].argmax())]
        token = made[0]
        yield token, device.tally.measured - before
