"""A queue in which clients take turns: one that asks much does not keep the others waiting."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Waiting items by client. `take` gives the first item of the client whose turn it is, then it is the next one's turn.

    A client that comes anew is the last in the round.
    """

    def __init__(self):
        self._clients: OrderedDict[str, deque[Item]] = OrderedDict()

    def __len__(self):
        return sum(map(len, self._clients.values()))

    def put(self, client: str, item: Item) -> None:
        """Adds an item of a client, behind its others."""
        self._clients.setdefault(client, deque()).append(item)

    def take(self) -> Item:
        """Takes the next item out. KeyError if there is none."""
        client, items = self._clients.popitem(last=False)
        item = items.popleft()
        if items:
            self._clients[client] = items
        return item

    def remove(self, client: str, item: Item) -> bool:
        """Takes an item out, wherever it is. Returns whether it was there."""
        items = self._clients.get(client, deque())
        if item not in items:
            return False
        items.remove(item)
        if not items:
            del self._clients[client]
        return True
