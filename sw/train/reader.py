"""Reads stories by the grammar: which sentences are the grammar's, who is in them, and whether they
follow a plot.

Reading a sentence narrows what each slot may stand for: a name leaves the characters with that
name, and "he" leaves those of them whose pronoun it is.
"""

import re
from functools import cache
from string import Formatter

from .grammar import ENDING, OPENINGS, PEOPLE, PLOTS, SLOTS

NAMES = {character.name for kind in PEOPLE for character in kind}
STAGES = (*(stage for part in (*OPENINGS, *PLOTS.values()) for stage in part), *ENDING)
CAST = ("a", "b")
"""The slots of the two characters."""


class Template:
    """A template of the grammar as a pattern, which matches its sentence with any cast."""

    def __init__(self, template: str):
        pattern, self._fields = "", []
        for literal, field, _, _ in Formatter().parse(template):
            pattern += re.escape(literal)
            if field:
                self._fields.append(field)
                words = {_says(field, value) for value in SLOTS[_slot(field)]}
                pattern += f"({'|'.join(sorted(words, key=len, reverse=True))})"
        self._pattern = re.compile(pattern + "(?: |$)")

    def read(self, text: str, start: int, cast: dict) -> list[tuple[int, dict]]:
        """Where the text goes on after this template, and what is left of the cast. Empty if the
        text does not match.
        """
        found = self._pattern.match(text, start)
        if found is None:
            return []
        for field, word in zip(self._fields, found.groups(), strict=True):
            slot = _slot(field)
            cast = cast | {slot: tuple(value for value in cast[slot] if _says(field, value) == word)}
        one, other = ({character.name for character in cast[slot]} for slot in CAST)
        possible = all(cast.values()) and not (len(one) == 1 and one == other)
        return [(found.end(), cast)] if possible else []


@cache
def _says(field, value):
    return f"{{{field}}}".format(**{_slot(field): value})


def _slot(field):
    return field.partition(".")[0]


@cache
def _template(template):
    return Template(template)


def follows(text: str, stages: tuple, start: int = 0, cast: dict = SLOTS) -> bool:
    """Whether the text is one template of each of these stages, in order, with one cast."""
    if not stages:
        return start == len(text)
    return any(follows(text, stages[1:], end, left)
               for template in stages[0] for end, left in _template(template).read(text, start, cast))


def consists(text: str, kept: tuple[str, ...] = (), start: int = 0, cast: dict = SLOTS) -> bool:
    """Whether the text is sentences of the grammar in any order, with the same values of the slots
    `kept` in all of them.
    """
    return start == len(text) or any(
        consists(text, kept, end, SLOTS | {slot: left[slot] for slot in kept})
        for template in {template: None for stage in STAGES for template in stage}
        for end, left in _template(template).read(text, start, cast))


def names(text: str) -> set[str]:
    """The names of characters that occur in the text."""
    return NAMES & set(re.findall(r"\w+", text))


def has_a_plot(text: str) -> bool:
    """Whether the text is a whole story of the grammar: an opening, one plot and an ending, with
    one cast.
    """
    return any(follows(text, (*opening, *plot, *ENDING)) for opening in OPENINGS for plot in PLOTS.values())
