"""The proof that the link recovers from anything that came over the line.

A host that sends no word, and takes each word of an answer, hears the end of what it had begun: after a
limited number of cycles the link waits for the first word of a frame. The only other place where it may
stay is the answer to a WAIT whose run goes on, which `link.py` leaves with the next word of the host.

A number, the rank, says how much is left to do. Proved in every cycle, from any state: while the host is
silent and the run makes no token, the rank falls, unless the link waits for a frame or for the run. The
rank has a highest value, and a run makes at most `MOST_TOKENS` tokens; so no damage, however long, keeps
the link from the next frame. That a whole RESET then acts is a claim of `link.py`.
"""

from pathlib import Path

from amaranth.hdl import C, Cat, Const, Mux, Signal, Value

from marey.hdl.link import Link
from marey.hdl.parts.host import HOST_READ_LATENCY
from marey.hdl.spec.config import Config
from marey.hdl.spec.protocol import MOST_TOKENS, Status

from .copies import Copies
from .link import ANSWER, CHECK, DONE, HEADER, IDLE, NOISE, RESPONDS_WITH_CRC, RESPONDS_WITH_PAYLOAD, TAKE, WAIT
from .netlist import Netlist
from .tools import Failed

STATUS, LENGTH, CRC, ANSWERED = 1, 2, 3, 4
"""Further states of the responder."""
WORD_BITS, WORD_CYCLES = 32, 64
"""Bits of a link word, and more cycles than a word of a payload takes: to read it, and to count it into the checksum."""


def prove(config: Config, folder: Path) -> Failed | None:
    """Proves it for a configuration. Returns what failed."""
    netlist = Netlist(Link(config), folder, deepest=0)
    netlist.cut("checksum.processor.crc_reg")
    copies = Copies(netlist, set(), [*netlist.state, "count"], count=1)
    m, link = copies.m, copies.copies[0]
    _invariants(copies, config)
    rank, stays = _rank(copies, config)
    before, falls = Signal.like(rank), Signal()
    m.d.sync += [before.eq(rank), falls.eq(~stays & ~link["rx__valid"] & link["tx__ready"] & ~link["made"])]
    copies.check("the rank falls", ~falls | (rank < before))
    return copies.prove(2)


def _states(link):
    """States of framer, receiver and responder."""
    return tuple(link[f"{name}fsm_state"] for name in ("receiver.framer.", "receiver.", "responder."))


def _invariants(copies, config):
    """What is true of the link's state in every cycle, and the rank needs."""
    link, check = copies.copies[0], copies.check
    framer, receiver, responder = _states(link)
    waiting, index = link["responder.waiting"], link["receiver.framer.index"]
    check("framer's state", framer <= CHECK)
    check("receiver's state", receiver <= WAIT)
    check("responder's state", responder <= RESPONDS_WITH_CRC)
    check("the framer waits for the answer", (receiver == TAKE) | (framer == DONE))
    check("the responder answers the receiver", (responder == IDLE) | (receiver == ANSWER))
    check("the responder waits for a payload", ~waiting.any() | (responder == RESPONDS_WITH_PAYLOAD))
    one = Cat(waiting == 1 << bit for bit in range(HOST_READ_LATENCY)).any()
    check("the responder waits for one word", one | (waiting == 0))
    check("index", (framer == HEADER) | (index == 0) | (framer == NOISE))
    check("silence", link["receiver.framer.quiet"] <= 1 << config.link_timeout.bit_length())


def _rank(copies, config):
    """How much the link has to do until it waits for a frame; and whether it waits for one, or for a run."""
    link = copies.copies[0]
    framer, receiver, responder = _states(link)
    token = link["answer.status"] == Status.TOKEN.value
    steps, bits = WORD_BITS // config.crc_bits, len(link["receiver.past"])
    part = link["checksum.part"] if steps > 1 else C(0, 1)
    answer, most_answer = _answer(link, responder, Mux(token, 0, 1), steps - part, steps, bits)
    # Tokens that a WAIT sends: the address is the number of the next, and steps on while the answer's word is read.
    address = link["receiver.framer.header"][32:64]
    token_bits = MOST_TOKENS.bit_length()
    sent = (responder == ANSWERED) | (responder == RESPONDS_WITH_CRC) | (
        (responder == RESPONDS_WITH_PAYLOAD) & ~link["responder.waiting"].any())
    tokens = (link["count"] - address[:token_bits])[:token_bits]
    after = (tokens - ~sent)[:token_bits]
    in_answer = Mux(token, (after + 1) * most_answer, 0) + answer
    in_wait = (tokens + 1) * most_answer
    taken = Const(((1 << token_bits) + 1) * most_answer)
    quiet = (1 << config.link_timeout.bit_length()) - link["receiver.framer.quiet"]
    opens = (framer == HEADER) & (link["receiver.framer.index"] == 0)
    rank = Signal(len(Value.cast(taken)) + 2)
    copies.m.d.comb += rank.eq(Mux(receiver == ANSWER, in_answer, Mux(receiver == WAIT, in_wait, Mux(
        framer == DONE, taken, Mux(opens, 0, taken + 1 + quiet.as_unsigned())))))
    stays = ((receiver == TAKE) & opens) | ((receiver == WAIT) & (tokens == 0) & link["running"])
    return rank, stays


def _answer(link, responder, has_more, steps_left, steps, bits):
    """What is left of an answer, and a bound of it, a power of two.

    `has_more`: 0 if its payload has one word; else the words are counted up to the address `past`, modulo 2**`bits`.
    """
    waiting = link["responder.waiting"]
    address, whole = link["receiver.framer.header"][32:32 + bits], WORD_CYCLES << bits
    words = (link["receiver.past"] - address - waiting.any())[:bits]
    to_read = Mux(waiting[0], 3, Mux(waiting[1], 2, waiting[2]))
    left = Signal(bits + 8)
    by_state = {IDLE: C(whole + 2 * steps + 8), STATUS: whole + 2 + steps + steps_left, LENGTH: whole + 1 + steps_left,
                CRC: C(whole), RESPONDS_WITH_PAYLOAD: 4 + Mux(has_more, words, 0) * WORD_CYCLES + to_read + steps_left,
                RESPONDS_WITH_CRC: C(2), ANSWERED: C(1)}
    value = C(0)
    for state, rank in by_state.items():
        value = Mux(responder == state, rank, value)
    return value, 1 << len(left)
