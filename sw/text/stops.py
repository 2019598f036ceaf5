"""Texts that end an answer, such as "\\n\\n" or "User:", found in a text that arrives piece by piece."""

from collections.abc import Iterable

from ...hdl.spec.errors import MareyError


class Stops:
    """A filter: called with a piece of text, it returns what can be shown of the text by then.

    A stop text, and what comes after it, is never shown; what may be the beginning of one is held
    back until it is known. `found`: whether a stop text has come. MareyError for an empty one.
    """

    def __init__(self, texts: Iterable[str] = ()):
        self._texts = tuple(texts)
        if not all(self._texts):
            raise MareyError("a text that ends an answer must have at least one character")
        self._held = ""
        self.found = False

    def __call__(self, piece: str) -> str:
        if self.found:
            return ""
        self._held += piece
        places = [place for text in self._texts if (place := self._held.find(text)) >= 0]
        self.found = bool(places)
        length = min(places) if places else len(self._held) - self._beginning()
        shown, self._held = self._held[:length], "" if self.found else self._held[length:]
        return shown

    def rest(self) -> str:
        """What was held back, once the text has ended in another way."""
        held, self._held = self._held, ""
        return held

    def _beginning(self) -> int:
        """Characters at the end of what is held that may be the beginning of a stop text."""
        return max((length for text in self._texts for length in range(1, len(text))
                    if self._held.endswith(text[:length])), default=0)
