"""The tiles, and the requests in front of them."""

import asyncio
import time
from collections.abc import AsyncIterator

from ...sim.progress import say
from .errors import ApiError
from .fair import FairQueue
from .job import Begun, Ended, Event, Failed, Job, Piece
from .metrics import Metrics
from .tile import Tile, TileError

RETRY_S = 5
"""Seconds after which a tile that could not be started is tried again."""


class Answer:
    """A request that waits for a tile, or is being answered. Its events come by iterating over it, up to `Ended` or `Failed`,
    or until the client has left."""

    def __init__(self, pool: "Pool", client: str, job: Job):
        self.client, self.job, self.begun = client, job, time.monotonic()
        self.tile: Tile | None = None
        self.left = False
        self._pool = pool
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def put(self, event: Event | None) -> None:
        """Adds an event; None is the end."""
        self._events.put_nowait(event)

    def leave(self) -> None:
        """Nobody waits for the answer any longer: it ends, and its tile is freed, at once or after the token at which it is."""
        if not self.left:
            self.left = True
            self._pool.leave(self)
            self.put(None)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = None if self.left else await self._events.get()
        if event is None or self.left:
            raise StopAsyncIteration
        if isinstance(event, Ended | Failed):
            self.put(None)
        return event


class Pool:
    """Tiles that share a queue. `most`: requests that may wait."""

    def __init__(self, tiles: list[Tile], most: int, metrics: Metrics):
        self.tiles, self._most, self._metrics = tiles, most, metrics
        self._queue: FairQueue[Answer] = FairQueue()
        self._idle: list[Tile] = []
        self._tasks: set[asyncio.Task] = set()

    async def start(self) -> None:
        """Starts all tiles; the first one before the others, because it may build a simulator that they need, too.
        TileError if one cannot be started."""
        await self.tiles[0].start()
        await asyncio.gather(*(tile.start() for tile in self.tiles[1:]))
        self._idle = [*self.tiles]
        self._metrics.ready.set(len(self.tiles))

    def close(self) -> None:
        """Ends all tiles."""
        for task in self._tasks:
            task.cancel()
        for tile in self.tiles:
            tile.close()

    def submit(self, client: str, job: Job) -> Answer:
        """Puts a job into the queue. ApiError if too many wait."""
        if len(self._queue) >= self._most:
            raise ApiError(f"{self._most} requests are waiting already: try again later", 429, code="rate_limit_exceeded")
        answer = Answer(self, client, job)
        self._queue.put(client, answer)
        self._match()
        return answer

    def leave(self, answer: Answer) -> None:
        """The client of an answer has left."""
        self._metrics.left.inc()
        if answer.tile:
            answer.tile.leave(answer.job)
        elif self._queue.remove(answer.client, answer):
            self._metrics.waiting.set(len(self._queue))

    def _match(self) -> None:
        """Gives waiting requests to idle tiles: each to the one whose KV cache has most of its prompt."""
        while self._queue and self._idle:
            answer = self._queue.take()
            tile = max(self._idle, key=lambda tile: tile.known(answer.job))
            self._idle.remove(tile)
            answer.tile = tile
            task = asyncio.create_task(self._answer(tile, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._metrics.waiting.set(len(self._queue))
        self._metrics.busy.set(self._metrics_busy())

    def _metrics_busy(self):
        return len(self.tiles) - len(self._idle)

    async def _answer(self, tile: Tile, answer: Answer) -> None:
        """Lets a tile do a job. If the tile fails, it is started again, which may take several trials."""
        self._metrics.wait.observe(time.monotonic() - answer.begun)
        try:
            before = time.monotonic()
            async for event in tile.events(answer.job):
                before = self._count(event, before, answer.job)
                answer.put(event)
        except TileError as error:
            say(f"marey: a tile has failed and is started again: {error}")
            answer.put(Failed(str(error)))
            await self._revive(tile)
        answer.tile = None
        self._idle.append(tile)
        self._match()

    def _count(self, event: Event, before: float, job: Job) -> float:
        """Counts an event. Returns the time of the latest token."""
        metrics = self._metrics
        if isinstance(event, Begun):
            metrics.prompt_tokens.inc(len(job.tokens))
            metrics.known_tokens.inc(event.known_count)
        elif isinstance(event, Piece) and event.step:
            metrics.predicted.inc(event.step.predicted_cycles)
            metrics.measured.inc(event.step.measured_cycles)
            metrics.tokens.inc(event.token is not None)
            now = time.monotonic()
            metrics.token_wall.observe(now - before)
            return now
        return before

    async def _revive(self, tile: Tile) -> None:
        self._metrics.ready.dec()
        while True:
            self._metrics.restarts.inc()
            try:
                await tile.start()
            except TileError as error:
                say(f"marey: a tile cannot be started, the next trial is in {RETRY_S} seconds: {error}")
                await asyncio.sleep(RETRY_S)
            else:
                self._metrics.ready.inc()
                return
