"""A field of the tile's configuration: its meaning and its legal values stand beside its name."""

import dataclasses
from dataclasses import MISSING, dataclass


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `least` to `most`, both inclusive; no largest one if `most` is None."""

    least: int = 1
    most: int | None = None

    def __contains__(self, value: int) -> bool:
        return self.least <= value and (self.most is None or value <= self.most)

    def __str__(self):
        return f"a whole number from {self.least} " + ("on" if self.most is None else f"to {self.most}")


@dataclass(frozen=True)
class PowerOfTwo(Whole):
    """Powers of two from `least` to `most`."""

    def __contains__(self, value: int) -> bool:
        return super().__contains__(value) and value & (value - 1) == 0

    def __str__(self):
        return super().__str__().replace("a whole number", "a power of two")


class OneOf(tuple):
    """A few numbers, in the order in which messages list them."""

    def __str__(self):
        return f"{', '.join(map(str, self[:-1]))} or {self[-1]}"


Legal = Whole | PowerOfTwo | OneOf


@dataclass(frozen=True)
class About:
    """What there is to know of a field. `default`: None if a configuration must give a value."""

    name: str
    meaning: str
    legal: Legal
    default: int | None

    def holds(self, value: object) -> bool:
        """Whether a value is legal. True and False are no numbers."""
        return type(value) is int and value in self.legal


def option(meaning: str, legal: Legal, default: int = MISSING):
    """A field of a dataclass with its meaning and legal values. Without a `default` it must be given."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "legal": legal})


def options(owner: type) -> list[About]:
    """The fields of a dataclass that `option` has made, in their order."""
    return [About(field.name, field.metadata["meaning"], field.metadata["legal"],
                  None if field.default is MISSING else field.default)
            for field in dataclasses.fields(owner) if "legal" in field.metadata]
