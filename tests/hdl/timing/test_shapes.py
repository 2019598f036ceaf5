"""Shapes: the uses of an issue are those of the first issue of its shape, moved."""

import random

import numpy as np
import pytest

from marey.hdl.spec.errors import MareyError
from marey.hdl.timing import Prover, trace, uses, violations
from marey.hdl.timing.rows import rows_of
from marey.sw.compiler.compile import compile_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from tests.configs import INT4, ONE_PORT, ROOMY
from tests.programs import Author, any_configuration

SHAPE = ModelConfig(dim=16, hidden_dim=20, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=40, seq_len=24)


def check_uses(config, program, **run):
    """Each issue's uses are those that its shape has when they are moved."""
    issues = list(trace(config, program, **run))
    shapes = Prover(config, program)._shapes_of(issues)
    (rows,), at = rows_of(config, issues, [], shapes), 0
    for issue in issues:
        for use in uses(config, issue):
            part = rows.parts[rows.part[at]]
            assert (part.use.unit, part.use.delay, part.use.span) == (use.unit, use.delay, use.span)
            assert np.array_equal(part.use.cycles + issue.cycle, use.cycles)
            if use.addresses is not None:
                entries = use.entries(config)
                assert np.array_equal(part.use.entries(config) + rows.moved[at], entries)
                assert (rows.low[at], rows.high[at]) == (entries.min(), entries.max())
            at += 1
    assert at == rows.part.size


@pytest.mark.parametrize("config", [ROOMY[0], ROOMY[2], INT4[3], ONE_PORT[0]], ids=lambda config: config.name)
def test_programs_of_the_compiler(config):
    program = compile_model(tiny_model(SHAPE), config).image.instructions
    for position, count in ((0, 1), (17, 2), (23, 0)):
        check_uses(config, program, position=position, count=count)


@pytest.mark.parametrize("seed", range(4))
def test_drawn_programs(seed):
    rng, checked = random.Random(seed), 0
    while checked < 4:
        config = any_configuration(rng)
        try:
            program = Author(config, rng).program()
            legal = not violations(config, program)
        except (MareyError, ValueError):
            continue
        if legal:
            check_uses(config, program)
            checked += 1
