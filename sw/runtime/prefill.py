"""The prompt elsewhere: the host computes a prompt's keys and values, and the tile decodes behind them.

The host computes with the golden model, whose integers are the tile's, many positions together. So
the tokens are the same, bit for bit, as if the tile had run the whole prompt.
"""

from collections.abc import Sequence

from ..compiler.cache_contents import contents, far_contents, layout_of
from ..program.program import Program
from .external import ExternalMemory
from .session import Session
from .verify import GoldenReference


class HostPrefill:
    """Enters prompts into the KV cache of a tile.

    Parameters: `reference`, which computes them, and may verify the tile's tokens as well; `program`,
    compiled from the reference's model, which the tile holds.
    """

    def __init__(self, reference: GoldenReference, program: Program):
        self._reference, self._program, self._layout = reference, program, layout_of(program, reference.model)

    def fill(self, session: Session, text: Sequence[int], first: int) -> None:
        """Writes the keys and values of a text's tokens from position `first` on to the tile; those
        before are there."""
        self._reference.read(text)
        cached, stream, facts = self._reference.cached(len(text)), self._program.stream, self._program.model
        if stream and stream.cache_bursts:
            memory = ExternalMemory(session, (stream.segment, facts.scale))
            for burst, octets in far_contents(self._program, self._reference.model, *cached, first):
                memory.write(burst, octets)
            return
        for word, weights in contents(self._layout, *cached, first):
            session.write_weights(word, weights)
