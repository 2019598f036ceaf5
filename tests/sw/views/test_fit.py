"""Fit: from a shape alone, what a real build takes; and a line where there can be none."""

import json
import tracemalloc
from dataclasses import replace
from functools import cache

import pytest
from gguf import GGUFWriter

from marey.boards.targets import targets
from marey.hdl.spec.config import PRESETS, preset
from marey.sw.compiler.compile import compile_quantised
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.layout import CompileError
from marey.sw.formats import DEFAULT_MODEL, FormatError, load_model, load_shape
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.families import graph_of
from marey.sw.quant.quantise import quantise
from marey.sw.views.fit import Target, fit, lines
from marey.sw.views.report import memory
from tests.configs import MODELS, ROOMY
from tests.models import without_gains

TINYLLAMA = ModelConfig(dim=2048, hidden_dim=5632, n_layers=22, n_heads=32, n_kv_heads=4, vocab_size=32000, seq_len=2048,
                        tied=False)


def check_against_builds(model, configs):
    """Every configuration that is fitted, built, or refused with the same words; returns the rows."""
    quantised = cache(lambda **how: quantise(model, **how))
    rows = fit(model.config, [Target(config.name, config) for config in configs], model)
    for row, config in zip(rows, configs, strict=True):
        assert row["name"] == config.name
        try:
            program = compile_quantised(quantised(**integers_for(config, model.config, model)), config)
        except CompileError as error:
            assert (row["mode"], row["why"]) == ("no", str(error)) and row["cycles"] is None
            continue
        last = program.model.context - 1
        assert (row["mode"], row["positions"], row["memory"]) == (program.mode, last + 1, memory(program))
        assert row["cycles"] == {name: program.cycles(at) for name, at in (("0", 0), ("mid", (last + 1) // 2), ("last", last))}
        assert row["link_words"] == program.link_words()
        if program.mode == "resident":
            assert len(program.image.weights) == row["memory"]["wram_words"]["used"] and not row["why"]
    return rows


def test_a_tiny_model_against_real_builds():
    external = replace(ROOMY[4], name="external", sdram=1, wram_depth=128)
    *_, row = rows = check_against_builds(tiny_model(replace(next(iter(MODELS)), seq_len=16)), [*PRESETS.values(), external])
    taken = row["memory"]["sdram_bytes"]
    assert 0 < taken["used"] < taken["of"] == 1 << 25 and f"{taken['used'] / taken['of']:.0%}" in lines(rows)[-2]


def test_a_model_on_a_grid_of_4_bits():
    """Its groups are those of its grid, as the quantiser finds them, and with them its cycles."""
    model = tiny_model(replace(next(iter(MODELS)), seq_len=16, tied=False))
    config = preset("sim8x8_int4")
    cycles = [check_against_builds(each, [config])[0]["cycles"]["0"]
              for each in (without_gains(model), without_gains(model, axis=1), model)]
    assert cycles[0] < cycles[1] < cycles[2]


def test_the_default_model_against_a_real_build():
    (row,) = check_against_builds(load_model(DEFAULT_MODEL), [preset("sim8x8_int4")])
    assert row["mode"] == "resident"


@pytest.mark.slow
def test_the_default_model_against_real_builds():
    check_against_builds(load_model(DEFAULT_MODEL), list(PRESETS.values()))


@pytest.mark.slow
def test_stories_against_real_builds(stories):
    rows = check_against_builds(load_model(stories), list(PRESETS.values()))
    assert {"resident", "streamed", "no"} == {row["mode"] for row in rows}


def headers(folder):
    """TinyLlama-1.1B's shape in a GGUF file without tensors, and in a folder with nothing but its config.json."""
    writer = GGUFWriter(folder / "header.gguf", "llama")
    for add, value in ((writer.add_context_length, TINYLLAMA.seq_len), (writer.add_embedding_length, TINYLLAMA.dim),
                       (writer.add_block_count, TINYLLAMA.n_layers), (writer.add_feed_forward_length, TINYLLAMA.hidden_dim),
                       (writer.add_head_count, TINYLLAMA.n_heads), (writer.add_head_count_kv, TINYLLAMA.n_kv_heads),
                       (writer.add_layer_norm_rms_eps, TINYLLAMA.norm_eps), (writer.add_vocab_size, TINYLLAMA.vocab_size),
                       (writer.add_tokenizer_model, "llama"),
                       (writer.add_token_list, [f"t{index}" for index in range(TINYLLAMA.vocab_size)])):
        add(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "hidden_size": TINYLLAMA.dim, "intermediate_size": TINYLLAMA.hidden_dim,
        "num_hidden_layers": TINYLLAMA.n_layers, "num_attention_heads": TINYLLAMA.n_heads,
        "num_key_value_heads": TINYLLAMA.n_kv_heads, "vocab_size": TINYLLAMA.vocab_size, "rms_norm_eps": TINYLLAMA.norm_eps,
        "max_position_embeddings": TINYLLAMA.seq_len, "tie_word_embeddings": False}))
    return folder / "header.gguf", folder, folder / "config.json"


def test_a_billion_weights_from_headers(tmp_path):
    """In little memory; where nothing else is in the way it streams, at nearly the array's full rate.

    As on the preset with room for language models, which is left out here, because it takes as long as all others. Those with
    external memory, which take seconds each, are left out, too.
    """
    for path in headers(tmp_path):
        shape = load_shape(path)
        assert replace(shape, tied=False) == TINYLLAMA
    large = replace(preset("sim8x8"), scalars=256)
    tracemalloc.start()
    small = [target for target in targets() if target.name != "lpu16x16" and not target.config.memory]
    rows = fit(shape, [*small, Target("large", large, 100e6), Target("line", large, 100e6, 1_000_000)])
    assert tracemalloc.get_traced_memory()[1] < 32e6
    tracemalloc.stop()
    *others, row, line = rows
    assert all(other["mode"] == "no" and other["why"] and "\n" not in other["why"] for other in others)
    assert row["mode"] == "streamed" and "W-RAM words" in row["why"]
    floor = graph_of(TINYLLAMA).macs(0) / large.macs
    assert floor < row["cycles"]["0"] < 1.05 * floor
    # Every weight comes over the link, four of them a word, and on a serial line 40 bits a word.
    assert row["link_words"] > graph_of(TINYLLAMA).macs(-1) / 4
    assert row["tokens_per_second"] == pytest.approx(100e6 / row["link_words"], rel=1e-3)
    assert line["tokens_per_second"] == pytest.approx(1e6 / 40 / row["link_words"], rel=1e-3)
    assert (row["link"], line["link"]) == ("a link word in every clock cycle", "a serial line of 1,000,000 baud")
    assert len(lines(rows)) == 2 + len(rows)


def test_shapes_are_those_of_the_models(tiny, tiny_model, tmp_path):
    assert load_shape(tiny) == tiny_model.config
    (tmp_path / "cut.bin").write_bytes(tiny.read_bytes()[:28])
    assert load_shape(tmp_path / "cut.bin") == tiny_model.config
    for content, word in ((b"", "too short"), (b"\0" * 28, "header"), (b"GGUF", "damaged")):
        (tmp_path / "bad.bin").write_bytes(content)
        with pytest.raises(FormatError, match=word):
            load_shape(tmp_path / "bad.bin")
