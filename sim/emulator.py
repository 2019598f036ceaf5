"""The emulator: executes programs in numpy, with the tile's results and the tile's timing.

It executes instructions one after another, each as a whole. The hardware overlaps them, but in a
legal program (see `marey.hdl.timing.rules`) every access to a memory happens in the order of the
instructions. So the results are the same.
"""

from collections import Counter

import numpy as np

from ..hdl.spec import integer
from ..hdl.spec.config import Config
from ..hdl.spec.dram_parts import BURST
from ..hdl.spec.integer import round_shift, saturate
from ..hdl.spec.isa import Function, Instruction, Op, Place, Reduce, Sfu, To, isa_of
from ..hdl.spec.packing import octets_to_weights, pack_mem, pack_program, unpack_mem, unpack_program, unpack_wram
from ..hdl.spec.ports import EXPONENT_BITS
from ..hdl.spec.protocol import Space, entry_bits, parts
from ..hdl.spec.wide import from_words
from ..hdl.timing import (
    Prover,
    Unit,
    blocks,
    cached_word,
    checked,
    mxm_addresses,
    reads_pairs,
    run_cycles,
    trace,
    uses,
    violations,
    vxm_granules,
    vxm_parts,
)
from ..hdl.vxm.reduce import LOWEST


class EmulatedTile:
    """The memories of a tile, and the execution of programs on them. `Endpoint` gives it a link.

    wram             weights, int8 [cols, wram_depth, rows]
    mem              MEM, int16 [mem_depth * rows]
    sdram            words of external memory, uint16 or uint32; empty on a tile without
    scalars          mantissas (or values) and exponents, int64 [scalars, 2]
    program          encoded instructions, program_depth integers
    tokens           tokens that the last run has made
    cycles           cycles of the last run
    schedule_faults  number of violations of the rules of the timetable in the last run
    busy             by unit: cycles of the last run in which the unit was in use
    """

    def __init__(self, config: Config):
        self.config = config
        self.wram = np.zeros((config.cols, config.wram_depth, config.rows), np.int8)
        self.mem = np.zeros(config.mem_depth * config.rows, np.int16)
        self.scalars = np.zeros((config.scalars, 2), np.int64)
        self.scalars[0] = 1, 0
        part = config.memory.part if config.memory else None
        self.sdram = np.zeros(part.bursts * BURST if part else 0, f"<u{part.bus_bits // 8 if part else 2}")
        self.program = [0] * config.program_depth
        self.tokens: list[int] = []
        self._faults: dict[tuple, int] = {}
        self._decoded: list[Instruction] | None = None
        self._meanings: dict[int, Instruction] = {}
        self._prover: Prover | None = None
        self.reset()

    def reset(self) -> None:
        """Does what a RESET does: sets the counters to zero. Memories keep their contents."""
        self._chosen = 0
        self._largest, self._passed = LOWEST, 0
        self.cycles = 0
        self.schedule_faults = 0
        self.busy = Counter()

    def write(self, space: Space, address: int, words: np.ndarray) -> None:
        """Writes whole entries into a memory, from link word `address` on. `words`: uint32 [n]."""
        entry = address // parts(entry_bits(self.config, space))
        if space is Space.PROGRAM:
            codes = unpack_program(self.config, words)
            self.program[entry:entry + len(codes)] = codes
            self._faults.clear()
            self._decoded = self._prover = None
        elif space is Space.MEM:
            values = unpack_mem(self.config, words)
            self.mem[entry * self.config.lanes:][:len(values)] = values
        elif space is Space.WRAM:
            weights = unpack_wram(self.config, words)
            word, column = np.divmod(entry + np.arange(len(weights)), self.config.cols)
            self.wram[column, word] = weights

    def read(self, space: Space, address: int, count: int) -> np.ndarray:
        """Reads link words of PROGRAM or MEM, from link word `address` on: uint32 [count]."""
        size = parts(entry_bits(self.config, space))
        first, last = address // size, -(-(address + count) // size)
        if space is Space.PROGRAM:
            words = pack_program(self.config, self.program[first:last])
        else:
            words = pack_mem(self.config, self.mem[first * self.config.lanes:last * self.config.lanes])
        return words[address - first * size:][:count]

    def start(self, entry: int, *, token: int = 0, position: int = 0, count: int = 1) -> None:
        """Executes the program from instruction `entry` to its HALT.

        `token`, its `position` and `count` are as in a START. ProgramError if the run does not
        halt, or breaks a rule without which it has no meaning (`marey.hdl.timing.issues`).
        """
        if self._decoded is None:
            isa = isa_of(self.config)
            for code in {*self.program} - self._meanings.keys():
                self._meanings[code] = isa.decode(code)
            self._decoded = [self._meanings[code] for code in self.program]
        program = self._decoded
        self.tokens, self.busy = [], Counter()
        # Granules that leave the MXM, by cycle: results of two products may alternate.
        stream: dict[int, np.ndarray] = {}
        issues = trace(self.config, program, entry, position=position, count=count, token=token, choose=self._choose)
        for issue in checked(self.config, issues, count):
            found = uses(self.config, issue)
            used = {use.unit: use.cycles for use in found}
            if issue.op is Op.MXM:
                stream.update(zip(used[Unit.DRAIN].tolist(), self._mxm(issue), strict=True))
            elif issue.op is Op.VXM:
                nothing = np.zeros(self.config.lanes, np.int64)
                self._vxm(issue, [stream.pop(cycle, nothing) for cycle in used.get(Unit.STREAM, np.empty(0)).tolist()])
            elif issue.op is Op.SFU:
                self._sfu(issue)
            elif issue.op is Op.MOVE:
                self._move(issue.operands)
            for use in found:
                self.busy[use.unit] += len(use.cycles)
        self.cycles = run_cycles(issue)
        how = {"position": position, "count": count, "token": token}
        run = (entry, position, count) if count > 1 else (entry, blocks(self.config, position), count)
        # A run that keeps the rules stands for all of its number of blocks: a proof takes longer than a run. One that breaks
        # them stands for itself, since an INDEX may make addresses of its token and position.
        if self._faults.get(run, 1):
            self._prover = self._prover or Prover(self.config, program)
            self._faults[run] = (0 if self._prover.proves(entry, **how) is not None
                                 else len(violations(self.config, program, entry, **how)))
        self.schedule_faults = self._faults[run]

    def _choose(self):
        self.tokens.append(self._chosen)
        return self._chosen

    def _mxm(self, issue):
        """The granules that leave the MXM: int64 [granules, lanes]."""
        config = self.config
        act, wgt = mxm_addresses(config, issue.operands)
        if issue.operands["fetch"]:
            words = self.wram[issue.token % config.cols, wgt.ravel()]
            return words.reshape(-1, config.lanes).astype(np.int64)
        act, wgt = (addresses.reshape(-1, addresses.shape[-1]) for addresses in (act, wgt))
        words = self.mem.astype(np.int8).reshape(-1, config.rows)
        x = words[act].reshape(len(act), -1).astype(np.float64)
        w = self._weights(issue.operands, wgt).reshape(config.cols, len(act), -1)
        # float64 holds these sums exactly: they are below 2**53.
        sums = np.einsum("ok,cok->oc", x, w).astype(np.int64)
        return _wrapped(sums, config.accumulator_bits).reshape(-1, config.lanes)

    def _weights(self, operands, wgt):
        """The weights of an MXM's beats: float64 [cols, results, beats, rows]. `wgt`: their words, int64 [results, beats]."""
        if reads_pairs(self.config, operands):
            pairs = self.wram[:, np.stack([wgt, wgt + 1], axis=-1).reshape(len(wgt), -1)]
            return from_words(self.config, pairs).astype(np.float64)
        w = self.wram[:, wgt].astype(np.float64)
        if operands.get("wide"):
            w[..., 0::2, :] %= 16
            w[..., 1::2, :] *= 16
        return w

    def _vxm(self, issue, taken):
        """Executes a VXM, or the parts of one with `then` one after the other.

        `taken`: granules that its beats take from the MXM's stream; empty without `stream`.
        """
        for part in vxm_parts(self.config, issue):
            self._vxm_part(part, taken if part.operands["stream"] else [])

    def _vxm_part(self, issue, taken):
        """Executes a VXM without `then`. With `plus` it may read values that it wrote itself, so it goes round by round."""
        granules = vxm_granules(self.config, issue.operands)
        taken = np.reshape(taken, (issue.operands["outer"], -1, self.config.lanes))
        if issue.operands["plus"]:
            for index in range(issue.operands["outer"]):
                self._rounds(issue, granules.round(index), taken[index:index + 1])
        else:
            self._rounds(issue, granules, taken)

    def _rounds(self, issue, granules, taken):
        """Executes rounds of a VXM. Operands are int64 [rounds, beats, lanes], values [rounds,
        granules, lanes].
        """
        operands, lanes = issue.operands, self.config.lanes
        memory = self.mem.reshape(-1, lanes)
        shape = (*granules.dst.shape, lanes)
        x, y = (None if addresses is None else memory[addresses % len(memory)].astype(np.int64)
                for addresses in (granules.x, granules.y))
        values, exponents = (self.scalars[granules.scalar, i][:, None, None] for i in (0, 1))
        values = values.astype(np.int16).astype(np.int64)
        a = taken if operands["stream"] else x
        if operands["pair"] and lanes > 1 and not operands["stream"]:
            a = a.copy()
            a[:, 1::2] = a[:, 1::2].reshape(*a[:, 1::2].shape[:2], -1, 2)[..., ::-1].reshape(a[:, 1::2].shape)
        b = y if operands["by_vector"] else values
        c = (x if operands["stream"] else y) if operands["plus"] else 0
        shift = np.clip(operands["shift"] + (0 if operands["bare"] else exponents), 0, 47)
        match operands["function"]:
            case Function.EXP2:
                below = (b - a) & 0x1FFFF
                a, b = integer.EXP2[below & 255], 127
                shift = shift + np.minimum(below >> integer.EXP2_BITS & 255, 32)
            case Function.SILU:
                b = integer.sigmoid(a)
            case Function.GELU:
                b = integer.gelu_gate(a)
        product = np.broadcast_to(a * b, shape)
        if operands["pair"]:
            product = product[:, 0::2] + product[:, 1::2]
            c = c[:, 1::2] if operands["plus"] else c
        cached = operands["to"] in (To.KEYS, To.VALUES)
        bits = (self.config.cache_bits if cached else 8) if operands["narrow"] else 16
        # Products have at most 49 bits, so any shift above 60 gives the same result.
        result = saturate(round_shift(product, np.minimum(shift, 60)) + c, bits)
        number = granules.number[granules.complete]
        index = number[:, None] * lanes + np.arange(lanes)
        keep = (index <= issue.position) | (operands["mask"] == 0)
        result = np.where(keep, result, 0)
        self._write(issue, operands["to"], granules.dst[:, granules.complete], result)
        self._reduce(issue, granules.into, result, keep)

    def _write(self, issue, to, dst, result):
        """Writes values [rounds, granules, lanes] to MEM, or into the KV cache in W-RAM."""
        config = self.config
        rows, cols, lanes = config.rows, config.cols, config.lanes
        if to is To.MEM:
            self.mem.reshape(-1, lanes)[dst % (len(self.mem) // lanes)] = result
        bits, operands = config.weight_bits, issue.operands
        halves = [(result >> bits * operands.get("high", 0), 0)]
        if config.paired:
            halves = [(result, 0), (result >> bits, rows // 2)]
        if to is To.KEYS:
            word, part = np.divmod(dst, config.granules_per_word)
            word = cached_word(config, operands, word)
            self._cache(issue.position % cols, word[..., None], part[..., None] * lanes + np.arange(lanes), halves)
        elif to is To.VALUES:
            word, group = np.divmod(dst, config.beats_per_result)
            word = cached_word(config, operands, word)
            self._cache(group[..., None] * lanes + np.arange(lanes), word[..., None], issue.position % rows, halves)

    def _cache(self, column, word, row, halves):
        """Writes values into W-RAM as weights. `column`, `word`, `row`: their places, which broadcast to the values' shape.

        `halves`: [(values, whose lowest bits count; rows by which they are moved)]. Where W-RAM is read in pairs of words,
        the rows of its second half are in the second word; see `marey.hdl.spec.wide`.
        """
        config, bits = self.config, self.config.weight_bits
        if config.paired:
            word = word + row // (config.rows // 2)
        for values, moved in halves:
            narrow = (values.astype(np.int64) << 64 - bits) >> 64 - bits
            self.wram[column, word % config.wram_depth, (row + moved) % config.rows] = narrow

    def _reduce(self, issue, into, result, keep):
        """Writes the scalars, or the chosen token, of the rounds.

        `result`: values; `keep`: which of them count; both [rounds, granules, lanes].
        """
        flat, keep = result.reshape(len(result), -1), np.broadcast_to(keep, result.shape).reshape(len(result), -1)
        match issue.operands["reduce"]:
            case Reduce.MAX:
                scalars = np.where(keep, flat, LOWEST).max(axis=1)
            case Reduce.ABSMAX:
                scalars = np.abs(flat).max(axis=1)
            case Reduce.SUM:
                scalars = flat.sum(axis=1)
            case Reduce.PICK:
                lanes = self.config.lanes
                scalars = result[:, :, issue.token % lanes].sum(axis=1)
            case Reduce.ARGMAX:
                self._choose_largest(np.where(keep, flat, LOWEST)[-1], bool(issue.operands["into"]))
                return
            case Reduce.NONE:
                return
        self.scalars[into, 0], self.scalars[into, 1] = _wrapped(scalars, 32), 0

    def _choose_largest(self, values, more):
        """Executes an ARGMAX of values, int64 [n]. With `more` it goes on where the one before has ended."""
        at, passed = int(values.argmax()), self._passed if more else 0
        if not more or values[at] > self._largest:
            number, lane = divmod(at, self.config.lanes)
            number = number % (1 << isa_of(self.config).number_bits) + passed
            self._chosen, self._largest = (number * self.config.lanes + lane) % (1 << self.config.token_bits), values[at]
        self._passed = passed + len(values) // self.config.lanes

    def _move(self, operands):
        """Executes a MOVE. Addresses beyond the end of external memory begin again at 0."""
        config, near = self.config, operands["near"]
        far = (operands["far"] * BURST + np.arange(operands["count"] * BURST)) % len(self.sdram)
        memory = self.mem.reshape(-1, config.lanes)
        if operands["to"] is Place.WRAM:
            weights = octets_to_weights(config, self.sdram[far].view(np.uint8))
            word, column = np.divmod(np.arange(len(weights)), config.cols)
            self.wram[column, (near + word) % config.wram_depth] = weights
            return
        granules = (near + np.arange(far.size * self.sdram.itemsize // (config.lanes * 2))) % len(memory)
        if operands["to"] is Place.MEM:
            memory[granules] = self.sdram[far].view("<i2").reshape(-1, config.lanes)
        else:
            self.sdram[far] = memory[granules].astype("<i2").ravel().view(self.sdram.dtype)

    def _sfu(self, issue):
        """Executes an SFU: scalars from scalars. A sum has no sign; exponents wrap, as in hardware."""
        operands, into = issue.operands, issue.operands["into"]
        for k in range(operands["count"]):
            a, b = (tuple(int(part) for part in self.scalars[operands[name] + k]) for name in ("a", "b"))
            x = (a[0] + operands["epsilon"]) % (1 << 32)
            match operands["function"]:
                case Sfu.QUANTISE:
                    results = integer.quantise_scalars(x)
                case Sfu.RSQRT:
                    results = [integer.rsqrt(x)]
                case Sfu.RECIPROCAL:
                    results = [integer.reciprocal(x)]
                case Sfu.MULTIPLY:
                    results = [integer.multiply(a, b)]
            for mantissa, exponent in results:
                self.scalars[into] = mantissa, _wrapped(exponent, EXPONENT_BITS)
                into += 1


def _wrapped(numbers, bits):
    """Numbers as a register of `bits` bits holds them, signed."""
    half = 1 << bits - 1
    return (numbers + half) % (2 * half) - half
