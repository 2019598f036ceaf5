"""Text generation: tokens through the tile, one after another, each with its cycles."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..text.sampling import Sampler
from .driver import Device
from .session import Tally


@dataclass(frozen=True)
class Step:
    """What the token at a position took: all its tile runs, in cycles."""

    position: int
    token: int
    predicted_cycles: int
    measured_cycles: int
    mac_floor_cycles: int


@dataclass
class Generation:
    """What was generated, and what it took. `link_words`: words over the link, loading the program included."""

    model: str
    prompt_tokens: list[int]
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    link_words: int = 0
    full: bool = False
    """It ended because the context has no more positions."""

    @property
    def predicted_cycles(self) -> int:
        return sum(step.predicted_cycles for step in self.steps)

    @property
    def measured_cycles(self) -> int:
        return sum(step.measured_cycles for step in self.steps)

    @property
    def mac_floor_cycles(self) -> int:
        return sum(step.mac_floor_cycles for step in self.steps)

    @property
    def utilisation(self) -> float:
        """Cycles that the multiply-accumulates alone would take, over the cycles that were measured."""
        return self.mac_floor_cycles / self.measured_cycles

    def as_json(self) -> dict:
        """The stable keys of `marey generate --json`."""
        totals = ("mac_floor_cycles", "predicted_cycles", "measured_cycles", "utilisation")
        return {
            "model": self.model, "prompt_tokens": self.prompt_tokens, "tokens": self.tokens, "text": self.text,
            **{name: getattr(self, name) for name in totals}, "steps": [asdict(step) for step in self.steps],
            "link_words": self.link_words,
        }

    def table(self, simulated_hz: float | None) -> list[tuple[str, str]]:
        """Lines of the table that follows the text: what, and how much."""
        full = ", as many as the tile has room for" * self.full
        rows = [
            ("tokens", f"{len(self.steps)} ({len(self.prompt_tokens)} of the prompt){full}"),
            ("cycles predicted", f"{self.predicted_cycles:,}"),
            ("cycles measured", f"{self.measured_cycles:,}"),
            ("utilisation of the MXM", f"{self.utilisation:.1%}"),
            ("link time, estimated", f"{self.link_words:,} cycles, a word in each"),
        ]
        if simulated_hz:
            rows.append(("simulated cycles a second", f"{simulated_hz:,.0f}"))
        return rows


def generate(device: Device, program: Program, prompt: str, steps: int, sampler: Sampler | None = None,
             show: Callable[[str], None] = lambda text: None) -> Generation:
    """Continues a prompt by up to `steps` tokens, or until the text ends; `show` gets the text as it comes.

    The device has the program loaded. The tile runs whole tokens, one run each; the likeliest comes from the tile, and
    only to draw another the host reads the logits. MareyError for a prompt longer than the context.
    """
    facts, tokenizer = program.model, program.tokenizer
    if facts is None or tokenizer is None:
        raise MareyError("this program was assembled by hand and has no model in it: compile one to generate text")
    tokens = tokenizer.encode(prompt) or [facts.shape.bos]
    if len(tokens) >= facts.context:
        raise MareyError(f"the prompt has {len(tokens)} tokens and the context {facts.context}: shorten it")
    result = Generation(program.name, tokens)
    sampler = sampler or Sampler()
    decode = tokenizer.stream()

    def say(text):
        result.text += text
        show(text)

    for token in tokens:
        say(decode(token))
    token, queue = tokens[0], tokens[1:]
    for position in range(min(facts.context, len(tokens) + steps - 1)):
        before = replace(device.tally)
        made = device.run(token, position, int(not queue))
        result.steps.append(_step(position, token, before, device.tally, program.config.macs))
        if queue:
            token = queue.pop(0)
            continue
        token = made[0] if sampler.greedy else int(sampler(device.logits()))
        if token in (facts.shape.bos, *facts.shape.eos):
            break
        result.tokens.append(token)
        say(decode(token))
        result.full = position == facts.context - 1 < len(tokens) + steps - 2
    say(decode.rest())
    result.link_words = device.tally.link_words
    return result


def _step(position: int, token: int, before: Tally, after: Tally, macs: int) -> Step:
    return Step(position, token, after.predicted - before.predicted, after.measured - before.measured,
                -(-(after.macs - before.macs) // macs))
