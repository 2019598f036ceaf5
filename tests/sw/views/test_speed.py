"""Tokens a second: one figure wherever it is printed, and what it assumes."""

import pytest

from marey.hdl.spec.config import preset
from marey.sw.compiler.compile import compile_model, compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.quant.quantise import quantise
from marey.sw.views.fit import Target, fit
from marey.sw.views.report import speeds
from marey.sw.views.speed import link_assumption, middle, tokens_per_second


@pytest.mark.parametrize("name", ["sim8x8", "ecp5_8x8", "ecp5_8x16"])
def test_fit_and_the_function_agree(name):
    model, config = tiny_model(), preset(name)
    program = compile_model(model, config)
    targets = [Target("link", config, 80e6), Target("line", config, 80e6, 1_000_000)]
    for row, target in zip(fit(model.config, targets), targets, strict=True):
        assert row["tokens_per_second"] == tokens_per_second(program, 80e6, middle(program), target.baud)
        assert row["link"] == link_assumption(program, target.baud) and bool(row["link"]) == (row["mode"] == "streamed")


def test_a_link_is_the_limit_of_a_streamed_model_only():
    model = quantise(tiny_model())
    resident, streamed = (compile_quantised(model, preset(name)) for name in ("sim8x8", "ecp5_8x8"))
    assert tokens_per_second(resident, 1e6, 0) == pytest.approx(1e6 / resident.cycles(0), rel=1e-3)
    assert tokens_per_second(resident, 1e6, 0, 9600) == tokens_per_second(resident, 1e6, 0)
    assert tokens_per_second(streamed, 1e6, 0) == pytest.approx(1e6 / max(streamed.link_words(), streamed.cycles(0)), rel=1e-3)
    assert tokens_per_second(streamed, 1e6, 0, 9600) == pytest.approx(9600 / 40 / streamed.link_words(), rel=1e-3)


def test_report_says_the_same():
    """At the position that it is asked for, at the clock that place and route met, and with a word in every cycle."""
    program = compile_quantised(quantise(tiny_model()), preset("ecp5_8x8"))
    costs = [{"config": "ecp5_8x8", "device": "a device", "clock_mhz_met": 90.0},
             {"config": "sim8x8", "device": "another", "clock_mhz_met": 50.0}]
    assert speeds(program, 3, costs) == {"a device": tokens_per_second(program, 90e6, 3)}
