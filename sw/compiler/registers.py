"""The map of address registers: one for each program, by name."""

from ...hdl.spec.isa import Address


class Registers:
    """Address registers by name, numbered from 1 in the order in which they are added.

    Each has a representative value: what it holds in the first layer, at position 0, for token 0. The scheduler resolves
    addresses with it; in other layers and at other positions, the same instructions touch entries that lie alike.
    """

    def __init__(self, values: dict[str, int]):
        self._numbers = {name: number for number, name in enumerate(values, 1)}
        self.values = {self._numbers[name]: value for name, value in values.items()}

    def add(self, name: str, number: int, value: int) -> None:
        """Names one more register."""
        self._numbers[name] = number
        self.values[number] = value

    def __getitem__(self, name: str) -> int:
        """The number of a register."""
        return self._numbers[name]

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def get(self, name: str, default: int) -> int:
        """The number of a register, or a default if there is none of this name."""
        return self._numbers.get(name, default)

    def value(self, name: str) -> int:
        """The representative value of a register."""
        return self.values[self._numbers[name]]

    def address(self, name: str, offset: int = 0) -> Address:
        """An address that counts from what a register holds."""
        return Address(offset, self._numbers[name])
