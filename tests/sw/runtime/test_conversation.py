"""Conversations on the tile: what is known is not run again, and what is written does not depend on that."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.runtime.conversation import Conversation, ends, template_of
from marey.sw.runtime.decoder import Decoder
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import CONTEXT, END, INTERRUPTED, STEPS, STOP, generate
from marey.sw.runtime.session import Tally
from marey.sw.text.chat import ChatTemplate
from marey.sw.text.sampling import Sampler
from tests.vocabularies import byte_level

pytestmark = pytest.mark.usefixtures("unproved")

TEMPLATE = ChatTemplate("{% for m in messages %}<|im_start|>{{ m['role'][0] }}{{ m['content'] }}<|endoftext|>{% endfor %}"
                        "{% if add_generation_prompt %}<|im_start|>a{% endif %}")
SHAPE = ModelConfig(dim=16, hidden_dim=24, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=400, seq_len=64, bos=0, eos=(0,),
                    tied=False)
RESIDENT = preset("tiny4x8")
STREAMED = replace(RESIDENT, wram_depth=256, mem_depth=1 << 12)


class Remembering:
    """A device that makes tokens of all that its cache has, as a tile does, and takes no time for it."""

    def __init__(self, program):
        self.tally, self._program, self._cache = Tally(), program, []

    def run(self, token, position, count):
        assert 0 <= position <= len(self._cache) and count in (0, 1) and position < self._program.model.context
        self._cache[position:] = [token]
        self.tally.predicted += position
        self.tally.measured += position
        return [int(self.logits().argmax())] * count

    def logits(self):
        return np.random.default_rng(self._cache).standard_normal(SHAPE.vocab_size)


@pytest.fixture(scope="module")
def program():
    return replace(compile_model(tiny_model(SHAPE), RESIDENT, byte_level()), template=TEMPLATE)


@pytest.fixture
def talk(program):
    """Makes a conversation."""
    def make(steps=6, system="", stops=(), **settings):
        decoder = Decoder(Remembering(program), program)
        return Conversation(decoder, TEMPLATE, Sampler(**settings), system=system, steps=steps, stops=stops)
    return make


def nothing(text):
    pass


def test_what_is_known_is_not_run_again(talk, program):
    """Each turn begins where the last one ended; its answer is that of a device that has run all of it."""
    conversation, asked = talk(system="x"), []
    for question in ("one day", "the dog", "the dog"):
        shown = []
        result = conversation.ask(question, shown.append)
        assert "".join(shown) == result.text and result.ended_by in (STEPS, END)
        asked.append(result)
    for before, after in pairwise(asked):
        known = [*before.prompt_tokens, *before.tokens]
        assert after.prompt_tokens[:len(known)] == known
        # The last token that was made has not been run.
        assert after.steps[0].position == len(known) - 1 and after.steps[0].token == known[-1]
    assert [message["role"] for message in conversation.messages] == ["system", *["user", "assistant"] * 3]
    whole = generate(Remembering(program), program, asked[-1].prompt_tokens, 6)
    assert (whole.tokens, whole.text, whole.steps[0].position) == (asked[-1].tokens, asked[-1].text, 0)


@pytest.mark.parametrize("config", [RESIDENT, STREAMED], ids=["resident", "streamed"])
def test_on_a_tile(config):
    """The cache of a tile that goes on at an earlier position is as if it had run these tokens alone: the reference has."""
    made = compile_model(tiny_model(SHAPE), config, byte_level())
    assert (made.stream is not None) == (config is STREAMED)
    with Device(Endpoint(config), config) as device, Device(Endpoint(config), config) as other:
        device.load(made)
        other.load(made)
        decoder, texts = Decoder(device, made), []
        for prompt in ([5, 6, 7, 8], [5, 6, 9], [5, 6, 9]):
            texts.append([ran for ran in decoder.decode(prompt, 3, Sampler(), logits=True) if ran.made is not None])
        assert [runs[0].step.position for runs in texts] == [3, 2, 2] and texts[1][0].step.predicted_cycles > 0
        for prompt, runs in zip(([5, 6, 7, 8], [5, 6, 9], [5, 6, 9]), texts, strict=True):
            alone = [ran for ran in Decoder(other, made).decode(prompt, 3, Sampler(), logits=True) if ran.made is not None]
            assert [ran.made for ran in runs] == [ran.made for ran in alone]
            assert all(np.array_equal(one.logits, two.logits) for one, two in zip(runs, alone, strict=True))


def test_a_reset_begins_anew(talk):
    conversation = talk(system="x")
    first = conversation.ask("one day", nothing)
    conversation.ask("the dog", nothing)
    conversation.reset()
    again = conversation.ask("one day", nothing)
    assert (again.prompt_tokens, again.text) == (first.prompt_tokens, first.text)
    assert again.steps[0].position == len(first.prompt_tokens) - 1, "all but the last token is known still"


def test_an_answer_that_is_interrupted_is_kept(talk):
    """In the middle of the answer; a question that was interrupted is taken back."""
    conversation, whole = talk(), talk().ask("one day", nothing)
    left = []
    stopped = conversation.ask("one day", nothing, keep_going=lambda now: left.append(now) or len(left) < 3)
    assert stopped.interrupted and stopped.tokens == [] and conversation.messages == []
    assert left == [len(stopped.prompt_tokens) - 1 - at for at in range(3)]
    count = iter(range(99))
    part = conversation.ask("one day", nothing, keep_going=lambda now: now > 0 or next(count) < 2)
    assert part.ended_by == INTERRUPTED and part.tokens == whole.tokens[:3] and part.steps[0].position == 3
    assert conversation.messages[-1] == {"role": "assistant", "content": part.text}
    after = conversation.ask("the dog", nothing)
    assert after.prompt_tokens[:len(part.prompt_tokens) + 3] == [*part.prompt_tokens, *part.tokens]


def test_a_context_that_fills_up(talk, program):
    """The oldest turns go, the system text stays; an answer that fills the context ends; nothing is asked that has no room."""
    context, conversation, forgotten = program.model.context, talk(steps=12, system="x"), []
    for turn in range(8):
        result = conversation.ask(f"play {turn}", nothing, forgotten=forgotten.append)
        assert len(result.prompt_tokens) + len(result.tokens) <= context + 1
        assert conversation.messages[0]["role"] == "system" and conversation.messages[-2]["content"] == f"play {turn}"
    assert len(forgotten) >= 2 and sum(forgotten) + (len(conversation.messages) - 1) // 2 == 8
    before = list(conversation.messages)
    with pytest.raises(MareyError, match=f"the context is {context}: shorten it"):
        conversation.ask("play " * context, nothing)
    assert conversation.messages == before
    long = talk(steps=500, temperature=2.0, seed=5).ask("one", nothing)
    assert long.ended_by == END or (long.ended_by == CONTEXT and len(long.prompt_tokens) + len(long.tokens) == context + 1)


def test_a_stop_text_ends_an_answer(talk):
    whole = talk(steps=20).ask("one day", nothing).text
    stop = whole[4:6]
    conversation, shown = talk(steps=20, stops=[stop]), []
    result = conversation.ask("one day", shown.append)
    assert result.ended_by == STOP and result.text == "".join(shown) == whole[:whole.find(stop)]
    assert conversation.messages[-1]["content"] == result.text
    text = TEMPLATE.render([*conversation.messages, {"role": "user", "content": "x"}])
    assert conversation.ask("x", nothing).prompt_tokens == byte_level().encode(text)


def test_draws_go_on(talk):
    """A conversation draws from one sampler, whose seed gives the whole of it."""
    def texts():
        conversation = talk(temperature=1.0, seed=3)
        return [conversation.ask("one day", nothing).text for _ in range(2)]

    first = texts()
    assert texts() == first and first[0] != first[1]


def test_templates_of_programs(program):
    """A program's own, or another with the program's special tokens; the names of tokens say which end an answer."""
    assert template_of(program).special == {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    named = replace(program, template=replace(TEMPLATE, special={"bos_token": "<s>"}))
    assert template_of(named, "{{ bos_token }}").render([]) == "<s>"
    assert template_of(replace(program, template=None)) is None
    assert ends(program) == {0}


def test_a_program_file_keeps_its_template(program, tmp_path):
    program.save(tmp_path / "x.marey")
    assert Program.load(tmp_path / "x.marey").template == TEMPLATE
    replace(program, template=None).save(tmp_path / "x.marey")
    assert Program.load(tmp_path / "x.marey").template is None
