"""The proof that a frame which is not whole and checked changes nothing that a run reads.

Any words come from the host, at any time, and a monitor counts them by the protocol alone: the header's
four words, then those of a payload. Proved in every cycle, for every length of a frame and every pause
within it:

* A run begins, and a RESET acts, only after four words of which the first is a header of that kind and the
  fourth the CRC of the others. The run begins with what the second and the third word say.
* A word is written only in the payload of a WRITE whose header was whole and checked, to the address that
  follows from it; during a run never to the program or to MEM.
* After a word was written no run begins before a WRITE was whole and its last word the CRC of all of it.
* A whole RESET acts in the next cycle, whatever came before it.
* No run begins while one is on, and the host does not read or write the program then: so `sequencer.py`
  assumes it.

* The checksum counts in just the words that the monitor counts, in their order, from the first one of a
  frame on.

The polynomial is no part of this proof: the checksum's register is a free input, so all of it holds for
any function of the words counted in. `tests/hdl/parts/test_checksum.py` compares the function with zlib's.
"""

from pathlib import Path

from amaranth.hdl import Cat, Mux, Signal
from amaranth.lib import data

from marey.hdl.link import Link
from marey.hdl.link.answer import space_bits
from marey.hdl.spec.config import Config
from marey.hdl.spec.protocol import REQUEST_MAGIC, Opcode, Request, Space, StartHow, StartWhere, Status

from .copies import Copies
from .netlist import Netlist
from .tools import Failed

DONE, HEADER, NOISE, PAYLOAD, CHECK = range(5)
"""States of the framer, as Amaranth numbers them: in the order in which `Framer` names them."""
TAKE, ANSWER, WAIT = range(3)
"""States of the receiver."""
IDLE, RESPONDS_WITH_PAYLOAD, RESPONDS_WITH_CRC = 0, 5, 6
"""States of the responder."""


class Monitor:
    """What the host has sent, by the protocol: added to a proof of the link.

    `words` of the header; `number` of them that were taken; `whole`: all four were taken, and the last is
    the CRC of the others; `left`: words of the payload to come; `pays`: it is coming, or, if it `ends`, its
    CRC; `complete`: both came, and fit; `counted`: the checksum has to count the word that is taken in this
    cycle.
    """

    def __init__(self, copies: Copies, config: Config):
        m, link, self.bits = copies.m, copies.copies[0], space_bits(config) + 2
        self.taken, opens = Signal(), link["receiver.framer.first"]
        self.words, self.number = [Signal(32, name=f"word{n}") for n in range(3)], Signal(3)
        self.whole, self.complete, self.pays, self.ends, self.left = *(Signal() for _ in range(4)), Signal(self.bits)
        word, fits = link["rx__payload"], Signal()
        self.opcode, self.space = _request(self.words[0])
        in_header = (self.number == 1) | (self.number == 2)
        self.counted = opens | in_header | (self.pays & ~self.ends)
        m.d.comb += [self.taken.eq(link["rx__valid"] & link["rx__ready"]), fits.eq(word == link["checksum.crc"])]
        with m.If(self.taken & opens):
            m.d.sync += [self.words[0].eq(word), self.number.eq(Mux(word[24:] == REQUEST_MAGIC, 1, 5)),
                         self.whole.eq(0), self.pays.eq(0), self.complete.eq(0)]
        with m.Elif(self.taken & in_header):
            for number in (1, 2):
                with m.If(self.number == number):
                    m.d.sync += self.words[number].eq(word)
            m.d.sync += self.number.eq(self.number + 1)
        with m.Elif(self.taken & (self.number == 3)):
            m.d.sync += [self.number.eq(4), self.whole.eq(fits), self.left.eq(self.words[2]), self.ends.eq(0),
                         self.pays.eq(fits & (self.opcode == Opcode.WRITE.value) & (self.words[2] != 0))]
        with m.Elif(self.taken & self.pays & ~self.ends):
            m.d.sync += [self.left.eq(self.left - 1), self.ends.eq(self.left == 1)]
        with m.Elif(self.taken & self.pays):
            m.d.sync += [self.pays.eq(0), self.complete.eq(fits)]


def prove(config: Config, folder: Path) -> Failed | None:
    """Proves it for a configuration. Returns what failed."""
    netlist = Netlist(Link(config), folder, deepest=0)
    netlist.cut("checksum.processor.crc_reg")
    nets = ["receiver.framer.first", "receiver.framer.done"]
    nets += [f"checksum.{name}" for name in ("crc", "step", "first", "last", "word")]
    copies = Copies(netlist, set(), [*netlist.state, *nets], count=1)
    monitor = Monitor(copies, config)
    _environment(copies)
    _claims(copies, monitor, config)
    _invariants(copies, monitor)
    return copies.prove(1)


def _environment(copies):
    """The sequencer runs only after a START."""
    m, link = copies.m, copies.copies[0]
    may_run = Signal()
    m.d.sync += may_run.eq(link["running"] | link["start"])
    copies.assume(~link["running"] | may_run)


def _claims(copies, monitor, config):
    """What is proved."""
    m, link, opcode = copies.m, copies.copies[0], monitor.opcode
    start, write, running, space = (link[name] for name in ("start", "host__write", "running", "host__space"))
    begin, how, where = link["begin"], data.View(StartHow, monitor.words[2]), data.View(StartWhere, monitor.words[1])
    whole = monitor.whole & ~monitor.pays
    copies.check("a run begins after a whole START", ~start | (whole & (opcode == Opcode.START.value)))
    copies.check("a run begins as its START says",
                 ~start | (begin == Cat(where.entry, where.token[:config.token_bits], how.position, how.count)))
    just_whole, acts = Signal(), Signal()
    is_reset = just_whole & monitor.whole & (opcode == Opcode.RESET.value)
    m.d.sync += [just_whole.eq(monitor.taken & (monitor.number == 3)), acts.eq(is_reset)]
    copies.check("a RESET is obeyed", ~is_reset | ((link["answer.status"] == Status.OK.value) & (
        link["receiver.fsm_state"] == TAKE) & (link["receiver.framer.fsm_state"] == DONE)
        & (link["receiver.fault"] == Status.OK.value)))
    copies.check("a whole RESET acts", ~acts | link["reset"])
    copies.check("a RESET is whole", ~link["reset"] | (whole & (opcode == Opcode.RESET.value)))
    copies.check("a word is written in the payload of a WRITE",
                 ~write | (monitor.pays & monitor.whole & ~monitor.ends & (opcode == Opcode.WRITE.value)
                           & (space == monitor.space) & (link["host__data"] == link["rx__payload"])))
    at = (monitor.words[1] + monitor.words[2] - monitor.left)[:monitor.bits]
    copies.check("a word is written where the WRITE says", ~write | (link["host__address"][:monitor.bits - 1] == at[:-1]))
    copies.check("a run's program and MEM are not written",
                 ~(write & running & ((space == Space.PROGRAM.value) | (space == Space.MEM.value))))
    asked = (space == Space.PROGRAM.value) & (write | link["host__read"])
    copies.check("a run's program is its own", ~(asked & (start | running)))
    copies.check("no run begins in a run", ~(start & running))
    # A frame is open until it was taken whole, or the link gave it up.
    step, given_up = link["checksum.step"], Signal()
    m.d.sync += given_up.eq(link["receiver.framer.done"] | (given_up & ~(monitor.taken & link["receiver.framer.first"])))
    open_frame = ~given_up & ~link["receiver.framer.done"] & (((monitor.number > 0) & (monitor.number < 4)) | monitor.pays)
    copies.check("the checksum counts in each word", ~(monitor.taken & monitor.counted) | (
        step & link["checksum.last"] & (link["checksum.word"] == link["rx__payload"])
        & (link["checksum.first"] == link["receiver.framer.first"])))
    copies.check("the checksum counts in nothing else", ~(step & open_frame) | (link["rx__valid"] & monitor.counted))
    unsure = Signal()
    good = monitor.complete | (monitor.whole & (opcode == Opcode.WRITE.value) & ~monitor.words[2].any())
    with m.If(write):
        m.d.sync += unsure.eq(1)
    with m.Elif(good):
        m.d.sync += unsure.eq(0)
    copies.check("no run begins while a WRITE is open", ~(start & unsure))
    copies.check("the link knows that a WRITE is open", ~unsure | good | link["receiver.dirty"])


def _request(word):
    """Opcode and space of a header's first word, as numbers."""
    request = data.View(Request, word)
    return request.opcode.as_value(), request.space.as_value()


def _invariants(copies, monitor):
    """How the link's state belongs to the monitor's, in every cycle."""
    link, opcode = copies.copies[0], monitor.opcode
    framer, receiver, responder = (link[f"{name}fsm_state"] for name in ("receiver.framer.", "receiver.", "responder."))
    header, index = link["receiver.framer.header"], link["receiver.framer.index"]
    status, again, running = link["answer.status"], link["receiver.again"], link["running"]
    check = copies.check
    check("framer's state", framer <= CHECK)
    check("receiver's state", receiver <= WAIT)
    read_opcode, read_space = _request(header[:32])
    check("a START acts when it is answered", ~link["start"] | ((receiver == ANSWER) & (read_opcode == Opcode.START.value)))
    check("a RESET acts when it is answered", ~link["reset"] | (receiver == ANSWER))
    check("the framer waits for the answer", (receiver == TAKE) | (framer == DONE))
    check("the responder answers the receiver", (responder == IDLE) | (receiver == ANSWER))
    check("the responder waits for a payload", ~link["responder.waiting"].any() | (responder == RESPONDS_WITH_PAYLOAD))
    taking = (framer == HEADER) & (index != 0)
    check("index", (framer == HEADER) | (index == 0) | (framer == NOISE))
    check("noise", (framer != NOISE) | ((monitor.number >= 4) & ~monitor.whole & ~monitor.pays))
    check("words of the header",
          ~taking | ((monitor.number == index) & ~monitor.pays & ~monitor.whole & ~monitor.complete))
    for number, word in enumerate(monitor.words):
        held = taking & (index > number) | (framer == PAYLOAD) | (framer == CHECK) | (framer == DONE) & monitor.whole & (
            receiver == TAKE) & (link["receiver.fault"] == Status.OK.value)
        if number == 1:
            held &= (framer == HEADER) | (framer == DONE) & (opcode != Opcode.WRITE.value)
        check(f"word {number} of the header", ~held | (header[32 * number:][:32] == word))
    in_payload = (framer == PAYLOAD) | (framer == CHECK)
    writes = (opcode == Opcode.WRITE.value)
    check("payload", ~in_payload | (monitor.pays & monitor.whole & writes & (monitor.number == 4)))
    check("words left", (framer != PAYLOAD) | ~monitor.ends)
    check("no words left", (framer != CHECK) | (monitor.ends & (monitor.left == 0)))
    at, past = header[32:32 + monitor.bits], link["receiver.past"]
    check("address", ~in_payload | ((past - at)[:monitor.bits] == monitor.left))
    check("end", ~(in_payload | (taking & (index == 3))) | (past == (monitor.words[1] + monitor.words[2])[:monitor.bits]))
    sound = (framer == DONE) & (link["receiver.fault"] == Status.OK.value) & (receiver == TAKE)
    paid = monitor.complete | ~writes | ~monitor.words[2].any()
    check("what is sound is whole", ~sound | (monitor.whole & ~monitor.pays & paid))
    obeyed = (status == Status.OK.value) & (in_payload | sound)
    program = (monitor.space == Space.PROGRAM.value) | (monitor.space == Space.MEM.value)
    check("exclusive", ~(obeyed & running & program & ((writes & ~again) | (opcode == Opcode.READ.value))))
    check("start", ~(sound & (status == Status.OK.value) & ~again & (opcode == Opcode.START.value))
          | ~(running | link["receiver.dirty"]))
    has_payload = (responder == RESPONDS_WITH_PAYLOAD) | (responder == RESPONDS_WITH_CRC)
    check("answers with a payload", ~has_payload | (status == Status.TOKEN.value) | (read_opcode == Opcode.WAIT.value)
          | ((read_opcode == Opcode.READ.value) & (status == Status.OK.value)))
    answers = (receiver == ANSWER) & (read_opcode == Opcode.READ.value) & (status == Status.OK.value)
    check("reads", ~(answers & running & (read_space == Space.PROGRAM.value)))
