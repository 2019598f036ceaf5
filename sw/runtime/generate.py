"""Text generation: a prompt and what a model makes of it, with the cycles of each token."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field

import numpy as np

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..text.sampling import Sampler
from ..text.stops import Stops
from ..text.tokenizer import Tokenizer
from .decoder import Decoder, Step
from .driver import Device
from .prefill import HostPrefill
from .verify import Verifier

INTERRUPTED, END, STOP, STEPS, CONTEXT = "interrupted", "end token", "stop text", "steps", "context"
"""What ends a text: the caller, a token of the model, a text given with `stops`, the number of steps, a full context."""


@dataclass
class Generation:
    """A generated text, and what it took.

    `prompt_tokens`, `tokens`: token ids of the prompt, and those generated, without the one that ends a
    text. `known_count`: tokens of the prompt that were in the KV cache before; `host_count`: those that
    the host computed. `steps`: one for each token that the tile was given, or for a block of the prompt's.
    `link_words`: 32-bit words over the link, loading the program included. `ended_by`: what ended the
    text, one of the constants above. `logprobs`: of each generated token, if they were asked for (see
    `log_probabilities`). `verified_count`: tokens that were compared with a reference and found equal;
    `verified_by`: the reference's name, or None.
    """

    model: str
    prompt_tokens: list[int]
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    known_count: int = 0
    host_count: int = 0
    steps: list[Step] = field(default_factory=list)
    link_words: int = 0
    ended_by: str = STEPS
    logprobs: list[dict] | None = None
    verified_by: str | None = None
    verified_count: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether the caller ended the text."""
        return self.ended_by == INTERRUPTED

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
            "ended_by": self.ended_by, **({} if self.logprobs is None else {"logprobs": self.logprobs}),
            "host_tokens": self.host_count, "link_words": self.link_words, "verified_by": self.verified_by,
            "verified_tokens": self.verified_count,
        }

    def table(self, simulated_hz: float | None) -> list[tuple[str, str]]:
        """The rows (name, value) of the table that follows the text."""
        full = ", as many as the tile has room for" * (self.ended_by == CONTEXT)
        rows = [
            ("tokens", f"{len(self.tokens)} generated after {len(self.prompt_tokens)} of the prompt{full}"),
            ("cycles predicted", f"{self.predicted_cycles:,}"),
            ("cycles measured", f"{self.measured_cycles:,}"),
            ("utilisation of the MXM", f"{self.utilisation:.1%}"),
            ("link time, estimated", f"{self.link_words:,} cycles, a word in each"),
        ]
        if self.host_count:
            rows.insert(1, ("of the host", f"{self.host_count} tokens of the prompt"))
        if self.verified_by:
            rows.insert(-2, ("tokens verified", f"{self.verified_count}, equal to the {self.verified_by}'s"))
        if simulated_hz:
            rows.append(("simulated cycles a second", f"{simulated_hz:,.0f}"))
        return rows


def encode_prompt(tokenizer: Tokenizer, prompt: str, bos: int, context: int) -> list[int]:
    """The tokens of a prompt; at least one, which is `bos`. MareyError if they leave no position of the context free."""
    return check_room(tokenizer.encode(prompt) or [bos], context)


def check_room(tokens: list[int], context: int) -> list[int]:
    """The tokens of a prompt. MareyError if they leave no position of the context free."""
    if len(tokens) >= context:
        raise MareyError(f"the prompt has {len(tokens)} tokens and the context {context}: shorten it")
    return tokens


def generate(device: Device, program: Program, prompt: str | Sequence[int], steps: int, sampler: Sampler | None = None,
             show: Callable[[str], None] = lambda text: None, verifier: Verifier | None = None, *,
             stops: Iterable[str] = (), logprobs: int = 0, keep_going: Callable[[int], bool] = lambda left: True,
             during: Callable[[int, int], AbstractContextManager] = lambda position, prompt_count: nullcontext(),
             prefill: HostPrefill | None = None) -> Generation:
    """Continues a prompt by up to `steps` tokens, or until the text ends; `show` gets the text piece by piece.
    `during`, `prefill`: see `Decoder`.

    The program must be loaded into the device. `prompt`: a text, which is shown, too, and is part of the text that is
    returned; or tokens, such as a conversation's, which are not. Each token is one run of the tile, which also chooses
    the likeliest next token; the logits are read only if the `sampler` draws another token from
    them, or to compare them. With a `verifier`, each token is compared before it is shown, and so
    are logits from which a token is drawn: VerifyError for a difference. `stops`, `logprobs`,
    `keep_going`: see `continued`. MareyError for a prompt that leaves no position of the context free, and for a program
    without a model.
    """
    decoder, facts = Decoder(device, program, verifier, during, prefill), program.model
    if not isinstance(prompt, str):
        tokens = check_room(list(prompt), facts.context)
        return continued(decoder, tokens, steps, sampler or Sampler(), show, stops=stops, logprobs=logprobs,
                         keep_going=keep_going)
    tokens = encode_prompt(program.tokenizer, prompt, facts.shape.bos, facts.context)
    return continued(decoder, tokens, steps, sampler or Sampler(), show, stops=stops, logprobs=logprobs,
                     keep_going=keep_going, echo=True)


def continued(decoder: Decoder, tokens: list[int], steps: int, sampler: Sampler, show: Callable[[str], None], *,
              stops: Iterable[str] = (), ends: Iterable[int] = (), logprobs: int = 0, echo: bool = False,
              keep_going: Callable[[int], bool] = lambda left: True) -> Generation:
    """Runs the tokens that are not in the decoder's KV cache, then up to `steps` more, and shows their text.

    `stops`: texts that end the text, and are not shown. `ends`: tokens that do, beside the model's own. `logprobs`: the number
    of likeliest tokens to list for each generated one; 0 lists nothing. `echo`: show the text of `tokens`, too. `keep_going`
    is called after each token with the number of tokens of the prompt that are still to be run, and ends the text if it
    returns False.
    """
    result = begun(decoder, tokens, logprobs)
    for text in pieces(decoder, result, steps, sampler, stops=stops, ends=ends, logprobs=logprobs, echo=echo,
                       keep_going=keep_going):
        show(text)
    return result


def begun(decoder: Decoder, tokens: list[int], logprobs: int = 0) -> Generation:
    """A generation of which nothing has been run yet; `logprobs`: as for `continued`."""
    return Generation(decoder.program.name, tokens, verified_by=decoder.verifier and decoder.verifier.reference.name,
                      logprobs=[] if logprobs else None, known_count=decoder.known(tokens))


def pieces(decoder: Decoder, result: Generation, steps: int, sampler: Sampler, *, stops: Iterable[str] = (),
           ends: Iterable[int] = (), logprobs: int = 0, echo: bool = False,
           keep_going: Callable[[int], bool] = lambda left: True) -> Iterator[str]:
    """Does what `continued` does, for a generation that has just `begun`: yields the text that each token adds.

    A text may be empty: within the prompt, and where it waits for the rest of a character or of a stop text. Each is in
    `result`, with the token and its cycles, before it is yielded.
    """
    program, verifier, tally = decoder.program, decoder.verifier, decoder.device.tally
    facts, tokenizer, tokens = program.model, program.tokenizer, result.prompt_tokens
    ends = {facts.shape.bos, *facts.shape.eos, *ends}
    decode, stop = tokenizer.stream(), Stops(stops)

    def said(text):
        result.text += text
        return text

    for token in tokens if echo else ():
        yield said(decode(token))
    for ran in decoder.decode(tokens, steps, sampler, bool(logprobs)):
        if ran.step is None:
            result.host_count = len(tokens) - ran.left - result.known_count
        else:
            result.steps.append(ran.step)
        if ran.made in ends:
            result.ended_by = END
            break
        piece = ""
        if ran.made is not None:
            result.tokens.append(ran.made)
            if logprobs:
                result.logprobs.append(log_probabilities(tokenizer, ran.logits, ran.made, logprobs))
            piece = said(stop(decode(ran.made)))
        yield piece
        if stop.found or not keep_going(ran.left):
            result.ended_by = STOP if stop.found else INTERRUPTED
            break
    else:
        if len(result.tokens) < steps:
            result.ended_by = CONTEXT
    result.link_words = tally.link_words
    result.verified_count = verifier.token_count if verifier else 0
    yield said(stop(decode.rest()) + stop.rest())


def log_probabilities(tokenizer: Tokenizer, logits: np.ndarray, token: int, count: int) -> dict:
    """{"token", "text", "logprob", "top"} of a token: its natural log-probability by the logits [vocab], and in "top" the
    `count` likeliest tokens, likewise. The sampler's settings do not change them."""
    logits = logits - logits.max()
    logits -= np.log(np.exp(logits).sum())

    def about(token):
        return {"token": int(token), "text": tokenizer.spelling(int(token)), "logprob": float(logits[token])}

    return about(token) | {"top": [about(other) for other in np.argsort(-logits, kind="stable")[:count]]}
