"""Text generation: tokens through the tile, one after another, each with its cycles."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..text.sampling import Sampler
from ..text.tokenizer import Tokenizer
from .driver import Device
from .session import Tally
from .verify import Verifier


@dataclass(frozen=True)
class Step:
    """The cycles that the token at a position took, summed over all its runs on the tile."""

    position: int
    token: int
    predicted_cycles: int
    measured_cycles: int
    mac_floor_cycles: int


@dataclass
class Generation:
    """A generated text, and what it took.

    `prompt_tokens`, `tokens`: token ids of the prompt, and those generated, without the one that ends a text. `steps`: one for
    each token that the tile was given. `link_words`: 32-bit words over the link, loading the program included. `full`: the
    text ended because the context has no more positions. `verified_count`: tokens that were compared with a reference and
    found equal; `verified_by`: the reference's name, or None.
    """

    model: str
    prompt_tokens: list[int]
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    link_words: int = 0
    full: bool = False
    verified_by: str | None = None
    verified_count: int = 0

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
        """The MAC floor (useful multiply-accumulates over rows x cols) divided by the measured cycles."""
        return self.mac_floor_cycles / self.measured_cycles

    def as_json(self) -> dict:
        """The stable keys of `marey generate --json`."""
        totals = ("mac_floor_cycles", "predicted_cycles", "measured_cycles", "utilisation")
        return {
            "model": self.model, "prompt_tokens": self.prompt_tokens, "tokens": self.tokens, "text": self.text,
            **{name: getattr(self, name) for name in totals}, "steps": [asdict(step) for step in self.steps],
            "link_words": self.link_words, "verified_by": self.verified_by, "verified_tokens": self.verified_count,
        }

    def table(self, simulated_hz: float | None) -> list[tuple[str, str]]:
        """The rows (name, value) of the table that follows the text."""
        full = ", as many as the tile has room for" * self.full
        rows = [
            ("tokens", f"{len(self.tokens)} generated after {len(self.prompt_tokens)} of the prompt{full}"),
            ("cycles predicted", f"{self.predicted_cycles:,}"),
            ("cycles measured", f"{self.measured_cycles:,}"),
            ("utilisation of the MXM", f"{self.utilisation:.1%}"),
            ("link time, estimated", f"{self.link_words:,} cycles, a word in each"),
        ]
        if self.verified_by:
            rows.insert(3, ("tokens verified", f"{self.verified_count}, equal to the {self.verified_by}'s"))
        if simulated_hz:
            rows.append(("simulated cycles a second", f"{simulated_hz:,.0f}"))
        return rows


def encode_prompt(tokenizer: Tokenizer, prompt: str, bos: int, context: int) -> list[int]:
    """The tokens of a prompt; at least one, which is `bos`. MareyError if they leave no position of the context free."""
    tokens = tokenizer.encode(prompt) or [bos]
    if len(tokens) >= context:
        raise MareyError(f"the prompt has {len(tokens)} tokens and the context {context}: shorten it")
    return tokens


def generate(device: Device, program: Program, prompt: str, steps: int, sampler: Sampler | None = None,
             show: Callable[[str], None] = lambda text: None, verifier: Verifier | None = None,
             during: Callable[[int, int], AbstractContextManager] = lambda position, prompt_count: nullcontext(),
             ) -> Generation:
    """Continues a prompt by up to `steps` tokens, or until the text ends; `show` gets the text piece by piece.
    Each token is computed within `during(its position, number of the prompt's tokens)`.

    The program must be loaded into the device. Each token is one run of the tile, which also chooses
    the likeliest next token; the logits are read only if the `sampler` draws another token from
    them, or to compare them. With a `verifier`, each token is compared before it is shown, and so
    are logits from which a token is drawn: VerifyError for a difference. MareyError for a prompt
    that leaves no position of the context free, and for a program without a model.
    """
    facts, tokenizer = program.model, program.tokenizer
    if facts is None or tokenizer is None:
        raise MareyError("this program was assembled by hand and has no model in it: compile one to generate text")
    tokens = encode_prompt(tokenizer, prompt, facts.shape.bos, facts.context)
    result = Generation(program.name, tokens, verified_by=verifier and verifier.reference.name)
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
        with during(position, len(tokens)):
            made = device.run(token, position, int(not queue))
        result.steps.append(_step(position, token, before, device.tally, program.config.macs))
        if queue:
            if verifier:
                verifier.follow(token, position)
            token = queue.pop(0)
            continue
        logits = device.logits() if not sampler.greedy or (verifier and verifier.logits) else None
        if verifier:
            verifier.check(token, position, made[0], logits)
        token = made[0] if sampler.greedy else int(sampler(logits))
        if token in (facts.shape.bos, *facts.shape.eos):
            break
        result.tokens.append(token)
        say(decode(token))
        result.full = position == facts.context - 1 < len(tokens) + steps - 2
    say(decode.rest())
    result.link_words = device.tally.link_words
    result.verified_count = verifier.token_count if verifier else 0
    return result


def _step(position: int, token: int, before: Tally, after: Tally, macs_per_cycle: int) -> Step:
    return Step(position, token, after.predicted - before.predicted, after.measured - before.measured,
                -(-(after.macs - before.macs) // macs_per_cycle))
