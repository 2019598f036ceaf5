"""What a campaign has seen, in a form that is added up and kept as JSON."""

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from amaranth.hdl import Shape
from amaranth.lib import data

from marey.hdl.spec.isa import Address, Instruction, isa_of, members
from marey.hdl.timing import Unit, bounds, issues, rules, within


@dataclass
class Found:
    """Programs, those that were legal, and their runs; rules by how often they refused a program; values of
    fields in legal programs, see `classes`; and failures, as texts that can be pasted into a test."""

    configurations: int = 0
    programs: int = 0
    legal: int = 0
    runs: int = 0
    rules: Counter = field(default_factory=Counter)
    fields: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Adds what another campaign has seen."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @classmethod
    def of(cls, facts: dict) -> "Found":
        """From JSON."""
        return cls(**facts | {name: Counter(facts[name]) for name in ("rules", "fields")})

    def report(self) -> str:
        """Some lines for people."""
        share = 100 * self.legal / max(self.programs, 1)
        lines = [f"{self.configurations} configurations, {self.programs} programs, {self.legal} legal ({share:.0f} %), "
                 f"{self.runs} runs compared, {len(self.failures)} failures"]
        lines += [f"{count:8} {rule}" for rule, count in self.rules.most_common()]
        silent = sorted(rule for rule in known_rules() if not any(re.fullmatch(rule, seen) for seen in self.rules))
        lines += [f"rules that refused no program: {len(silent)} of {len(known_rules())}", *(f"    {rule}" for rule in silent)]
        missing = sorted(known_classes() - set(self.fields))
        lines.append(f"values of fields in no legal program: {len(missing)} of {len(known_classes())}")
        lines.append(f"    {', '.join(missing)}")
        return "\n".join(lines + self.failures)


def kind(what: str) -> str:
    """A rule's message without its numbers, and without the instruction."""
    what = re.sub(r"^[A-Z]+ .*: (?=address register)", "", what)
    return re.sub(r"-?\d+", "n", what)


def known_rules() -> set[str]:
    """Patterns of the messages of all rules, without their numbers: those of units, and those that stand in the source."""
    found = {re.escape(kind(text)) for unit in Unit for text in (unit.facts.clash, unit.facts.alone) if text}
    for module in (issues, within, rules, bounds):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                text = "".join(re.escape(kind(part)) if part else ".*" for part in parts)
                if len(text.replace("\\", "").split()) > 3:
                    found.add(text)
    return found


def classes(program: Iterable[Instruction], isa) -> set[str]:
    """Fields of a program and the classes of their values: 0, most (the largest that fits), some; or the word itself."""
    found = set()
    for instruction in program:
        layout = dict(isa.operands[instruction.op])
        found.add(f"{instruction.op.name}.wait={'some' if instruction.wait else 0}")
        for name, value in instruction.operands.items():
            where, shape = f"{instruction.op.name}.{name}", layout[name].shape
            if isinstance(value, Address):
                found.add(f"{where}.base={'some' if value.base else 0}")
                value, shape = value.offset, shape["offset"].shape
            if members(shape):
                found.add(f"{where}={value.name}")
            else:
                found.add(f"{where}={_class(value, Shape.cast(shape))}")
    return found


def _class(value, shape):
    if shape.width > 1 and value == (1 << shape.width - shape.signed) - 1:
        return "most"
    return "0" if value == 0 else "negative" if value < 0 else "some"


def known_classes() -> set[str]:
    """The classes that each field of both kinds of tile has, for values other than the largest."""
    from .configurations import EXAMPLES

    found = set()
    for config in EXAMPLES:
        isa = isa_of(config)
        for op in isa.operands:
            found |= {f"{op.name}.wait=0", f"{op.name}.wait=some"}
            for name, member in isa.operands[op]:
                where, shape = f"{op.name}.{name}", member.shape
                if isinstance(shape, data.Layout):
                    found |= {f"{where}.base=0", f"{where}.base=some"}
                    found.add(f"{where}=some")
                elif words := members(shape):
                    found |= {f"{where}={word.name}" for word in words}
                else:
                    found.add(f"{where}=some")
    return found
