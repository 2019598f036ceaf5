"""The map of a program's address registers, by name."""

from ...hdl.spec.isa import Address


class Registers:
    """Address registers by name, numbered from 1 in the order of `values`, {name: value}.

    A value is what the register holds in the first layer, at position 0, for token 0. The scheduler
    resolves addresses with these values. In other layers and at other positions all addresses of a
    register move by the same amount, so the schedule holds there, too.
    """

    def __init__(self, values: dict[str, int]):
        self._numbers = {name: number for number, name in enumerate(values, 1)}
        self.values = {self._numbers[name]: value for name, value in values.items()}

    def add(self, name: str, number: int, value: int) -> None:
        """Adds a register with a given number and value."""
        self._numbers[name] = number
        self.values[number] = value

    def __getitem__(self, name: str) -> int:
        """The number of a register. KeyError if there is none of this name."""
        return self._numbers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def get(self, name: str, default: int) -> int:
        """The number of a register, or a default if there is none of this name."""
        return self._numbers.get(name, default)

    def value(self, name: str) -> int:
        """The value of a register in the first layer, at position 0, for token 0. KeyError if there
        is none."""
        return self.values[self._numbers[name]]

    def address(self, name: str, offset: int = 0) -> Address:
        """The address `offset` + register, resolved when the instruction issues."""
        return Address(offset, self._numbers[name])
