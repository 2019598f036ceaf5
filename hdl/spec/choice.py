"""Some members of an enumeration, as the shape of a field."""

from dataclasses import dataclass

from amaranth.hdl import Const, Format, Shape, ShapeCastable, ShapeLike, Value, ValueCastable, unsigned
from amaranth.lib.enum import Enum, EnumMeta


@dataclass(frozen=True)
class Choice(ShapeCastable):
    """The members of an enumeration that a tile has, as the shape of a field.

    A function that only some tiles have is a member of the enumeration for all of them. Its code is
    legal, its name is in the Verilog, and the field is wide enough for it, only on those tiles.

    Parameters: `enum`, an enumeration of numbers from 0 on; `members`, the members that the tile has.
    """

    enum: type[Enum]
    members: tuple[Enum, ...]

    def __iter__(self):
        return iter(self.members)

    def as_shape(self) -> Shape:
        """As many bits as the largest code has."""
        return unsigned(max(member.value for member in self.members).bit_length())

    def __call__(self, value: Value | ValueCastable | int | Enum) -> "ChoiceView | Enum":
        """A view of a value; for a number, the member of the enumeration, even one that the tile lacks."""
        return ChoiceView(self, Value.cast(value)) if isinstance(value, (Value, ValueCastable)) else self.enum(value)

    def const(self, init: int | Enum | None) -> "ChoiceView":
        return ChoiceView(self, Const(self.enum(init or 0).value, self.as_shape()))

    def from_bits(self, raw: int) -> Enum:
        return self.enum(raw)

    def format(self, value: Value, format_spec: str) -> Format:
        if format_spec:
            raise ValueError(f"Format specifier {format_spec!r} is not supported for a choice")
        return Format.Enum(value, {member.value: member.name for member in self.members}, name=self.enum.__qualname__)


class ChoiceView(ValueCastable):
    """A value of a `Choice`. It can be assigned, and compared with a member of the choice."""

    def __init__(self, choice: Choice, target: Value):
        self._choice = choice
        self._target = target

    def shape(self) -> Choice:
        return self._choice

    def as_value(self) -> Value:
        return self._target

    def eq(self, other):
        """Assigns to the value."""
        return self._target.eq(other)

    def __eq__(self, member: Enum) -> Value:
        if member not in self._choice.members:
            raise TypeError(f"{member!r} is not one of {self._choice.members}")
        return self._target == Const(member.value, self._choice.as_shape())

    __hash__ = None


def members(shape: ShapeLike) -> list[Enum]:
    """The words that a field of this shape can be; none if it is a number or an address."""
    return list(shape) if isinstance(shape, (Choice, EnumMeta)) else []
