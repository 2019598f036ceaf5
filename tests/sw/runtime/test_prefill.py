"""`--prefill host`: a prompt that the host computes leaves the tile as if it had run it, and the texts are the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sim import verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.cache_regions import regions
from marey.sw.compiler.compile import compile_quantised
from marey.sw.compiler.layout import CompileError
from marey.sw.formats import gguf
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.quant import golden
from marey.sw.quant.quantise import quantise
from marey.sw.runtime import decoder as decoding
from marey.sw.runtime.conversation import Conversation
from marey.sw.runtime.decoder import Decoder
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from marey.sw.runtime.prefill import HostPrefill, layout_of
from marey.sw.runtime.verify import GoldenReference, Verifier
from marey.sw.text.chat import ChatTemplate
from marey.sw.text.sampling import Sampler
from tests.configs import INT4, MODELS, ONE_PORT, ROOMY, any_shape
from tests.outliers import outlier_model
from tests.sw.commands import marey, refused
from tests.vocabularies import byte_level

pytestmark = pytest.mark.usefixtures("unproved")

@pytest.fixture(autouse=True, scope="module")
def unheld():
    """The emulator does not look for broken rules, which takes most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("marey.sim.emulator.violations", lambda *arguments, **how: [])
        yield


SMALL = next(iter(MODELS))
TURNS = ChatTemplate("{% for m in messages %}{{ m['role'][0] }}{{ m['content'] }}{% endfor %}")


def cache_of(program, model, device):
    """The words of W-RAM that have keys and values, of an emulated tile."""
    wram = device.transport.tile.wram
    return [wram[:, first:end] for region in regions(layout_of(program, model)) for first, end in region]


def compare(program, model, prompt, cuts, count=3, transport=Endpoint):
    """Runs a prompt on a tile, and computes it on the host, in parts that end at `cuts`: the caches are the same, and so are
    the tokens behind it, their logits and cycles."""
    program, reference, found = replace(program, tokenizer=tiny_tokenizer()), GoldenReference(model), []
    with Device(Endpoint(program.config), program.config) as tile, Device(transport(program.config), program.config) as other:
        for device in (tile, other):
            device.load(program)
        for position, token in enumerate(prompt[:-1]):
            tile.run(token, position, 0)
        prefill, first = HostPrefill(reference, program), 0
        for end in [*cuts, len(prompt) - 1]:
            prefill.fill(other.session, prompt[:end], first)
            first = end
        if transport is Endpoint:
            for one, two in zip(cache_of(program, model, tile), cache_of(program, model, other), strict=True):
                assert np.array_equal(one, two)
        decoders = [Decoder(tile, program), Decoder(other, program, Verifier(reference, True), prefill=prefill)]
        for decoder in decoders:
            decoder.tokens = [*prompt[:-1]]
            found.append(list(decoder.decode(prompt, count, Sampler(), logits=True)))
    for one, two in zip(*found, strict=True):
        assert (one.step, one.made) == (two.step, two.made) and one.step.predicted_cycles == one.step.measured_cycles
        assert np.array_equal(one.logits, two.logits)


@pytest.mark.parametrize(("head_dim", "depth", "streamed"), [(4, 4096, False), (12, 4096, False), (12, 256, True)])
def test_the_cache_of_heads_that_share_results(head_dim, depth, streamed):
    """On an array of more columns than rows, resident and streamed."""
    shape = replace(SMALL, dim=4 * head_dim, n_heads=4, n_kv_heads=2, seq_len=24)
    model = quantise(tiny_model(shape))
    program = compile_quantised(model, replace(ROOMY[2], wram_depth=depth))
    assert (program.stream is not None) == streamed
    compare(program, model, [5, 3, 8, 2, 9, 4, 7, 1, 6, 3, 2, 8], [4, 9])


@settings(max_examples=3, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_the_cache_is_as_the_tile_leaves_it(data):
    """On any tile, resident or streamed, for any shape and in any parts."""
    shape = data.draw(any_shape(20))
    assume(shape.seq_len >= 5)
    config = data.draw(st.sampled_from(ROOMY + INT4 + ONE_PORT))
    kind = data.draw(st.sampled_from(["plain", "balanced", "qwen2"]))
    shape = replace(shape, family="qwen2") if kind == "qwen2" else shape
    model = quantise(outlier_model(shape) if kind == "balanced" else tiny_model(shape), config.weight_bits,
                     cache_bits=config.cache_bits)
    try:
        program = compile_quantised(model, config)
    except CompileError:
        assume(False)
    count = data.draw(st.integers(2, program.model.context - 1))
    prompt = np.random.default_rng(count).integers(0, shape.vocab_size, count).tolist()
    cuts = sorted(data.draw(st.sets(st.integers(1, count - 1), max_size=2)))
    compare(program, model, prompt, cuts, count=min(3, program.model.context - count + 1))


def test_a_streamed_model():
    """One whose next token the host chooses, from the logits of chunks."""
    model = quantise(tiny_model(replace(SMALL, vocab_size=400)))
    program = compile_quantised(model, replace(ROOMY[0], wram_depth=300, mem_depth=120))
    assert program.mode == "streamed" and program.stream.chunk_logits
    compare(program, model, [3, 7, 1, 40, 22, 8, 31, 2, 9, 10, 11], [6])


def test_on_the_rtl(compiler):
    config, shape = preset("tiny4x8"), replace(SMALL, seq_len=32)
    model = quantise(tiny_model(shape))
    compare(compile_quantised(model, config), model, list(range(1, 20)), [10], transport=verilator.open_tile)


def test_a_conversation_goes_on_behind_its_answers(monkeypatch):
    """Each turn computes what is new on the host, answers of the tile included, in parts: the texts are those of the tile
    alone, which forgets the oldest turns at the same time."""
    monkeypatch.setattr(decoding, "TOGETHER", 5)
    shape = replace(SMALL, vocab_size=400, seq_len=64, bos=0, eos=(0,), tied=False)
    model, config = quantise(tiny_model(shape)), preset("tiny4x8")
    program = replace(compile_quantised(model, config, byte_level()), template=TURNS)
    reference = GoldenReference(model)
    answers = []
    for prefill in (None, HostPrefill(reference, program)):
        with Device(Endpoint(config), config) as device:
            device.load(program)
            talk = Conversation(Decoder(device, program, prefill and Verifier(reference), prefill=prefill), TURNS, steps=4)
            answers.append([talk.ask(question, lambda text: None) for question in ("one day", "the dog", "bus" * 9)])
    for alone, host in zip(*answers, strict=True):
        assert (alone.tokens, alone.prompt_tokens, alone.known_count) == (host.tokens, host.prompt_tokens, host.known_count)
        assert host.host_count == len(host.prompt_tokens) - 1 - host.known_count and alone.host_count == 0
        assert len(host.steps) == len(alone.steps) - host.host_count and host.steps == alone.steps[host.host_count:]
    assert any(host.known_count for host in answers[1]) and sum(host.host_count for host in answers[1]) > 15


def test_an_interrupted_prompt_goes_on(monkeypatch):
    monkeypatch.setattr(decoding, "TOGETHER", 4)
    model, config = quantise(tiny_model(SMALL)), preset("tiny4x8")
    program, prompt = replace(compile_quantised(model, config), tokenizer=tiny_tokenizer()), list(range(1, 12))
    with Device(Endpoint(config), config) as device:
        device.load(program)
        decoder = Decoder(device, program, prefill=HostPrefill(GoldenReference(model), program))
        begun = decoder.decode(prompt, 2, Sampler())
        assert (next(begun).left, decoder.tokens) == (7, prompt[:4])
        begun.close()
        assert [ran.left for ran in decoder.decode(prompt, 2, Sampler())] == [3, 1, 0, 0]


def test_the_command(tmp_path):
    """The same text and tokens, as tables and as JSON; --verify compares them, too."""
    path = tmp_path / "tiny.gguf"
    gguf.write(path, tiny_model(replace(SMALL, vocab_size=400, tied=False)), byte_level())
    command = ["generate", "once upon a", "--model", path, "--config", "tiny4x8", "--backend", "emulator", "--steps", 4]
    tile, host = (json.loads(marey(*command, "--json", "--prefill", where).stdout) for where in ("tile", "host"))
    assert {name: tile[name] for name in ("text", "tokens", "prompt_tokens")} == {
        name: host[name] for name in ("text", "tokens", "prompt_tokens")}
    count = len(host["prompt_tokens"]) - 1
    assert (tile["host_tokens"], host["host_tokens"]) == (0, count) and host["steps"] == tile["steps"][count:]
    table = marey(*command, "--prefill", "host")
    assert table.exit_code == 0 and f"{count} tokens of the prompt" in table.stdout
    file = tmp_path / "tiny.marey"
    assert marey("compile", path, "-o", file, "--config", "tiny4x8").exit_code == 0
    (tmp_path / "template").write_text(TURNS.source)
    refused("chat", file, "--prefill", "host", "--backend", "emulator", "--template", tmp_path / "template",
            word="needs a model file")


def test_prompts_of_the_golden_model_are_computed_together(monkeypatch):
    """A verifier without --prefill computes the prompt at its end, all positions together, and no logits within it."""
    model, config = quantise(tiny_model(SMALL)), preset("tiny4x8")
    program, calls = replace(compile_quantised(model, config), tokenizer=tiny_tokenizer()), []
    walk = golden.Golden._walk
    monkeypatch.setattr(golden.Golden, "_walk", lambda self, tokens, position, wanted: (
        calls.append((tokens.shape[1], position, wanted)), walk(self, tokens, position, wanted))[1])
    with Device(Endpoint(config), config) as device:
        device.load(program)
        generate(device, program, list(range(1, 10)), 3, verifier=Verifier(GoldenReference(model)))
    assert calls[:2] == [(8, 0, False), (1, 8, True)] and all(call[0] == 1 and call[2] for call in calls[1:])
