"""Work that is spread over processes or a cluster, and what of it is done."""

import json
import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path

from tqdm import tqdm

from ...hdl.spec.errors import MareyError
from ..views.sweep import FAILED

TRIALS = 5
"""Times that a point is tried whose worker dies."""
MARKS = ("target", "spill", "pause", "terminate")
QUIET = {
    "distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "5s",
    "distributed.admin.system-monitor.interval": "5s", "distributed.scheduler.work-stealing-interval": "1s",
    **{f"distributed.worker.memory.{mark}": False for mark in MARKS}}
"""Settings of Dask for local processes. Its profiler and monitors would take much of their time."""
FORKS = "forkserver"
"""The way of local processes to begin, where the system has it: they share what one process has imported."""


@dataclass(frozen=True)
class Spread:
    """Where work is done: in so many local processes, or by a Dask scheduler at an address."""

    workers: int = 1
    scheduler: str | None = None

    def rows(
        self, work: Callable[[str, str], dict], waiting: Mapping[str, str], kept: "Kept", what: str
    ) -> dict[str, dict]:
        """{key: work(key, name)} for each {key: name}, as they are done; all but what failed is kept at once.

        Work that fails gives a row, too, and does not end the others.
        """
        found = {}
        with ExitStack() as stack:
            results = self._results(stack, work, waiting)
            shown = tqdm(results, desc=what, unit="tile", total=len(waiting), disable=None, leave=False)
            for key, row in shown:
                found[key] = row
                if row.get("mode") != FAILED:  # which is tried again next time
                    kept.add(key, row)
        return found

    def _results(self, stack, work, waiting) -> Iterator[tuple[str, dict]]:
        if not waiting or (self.workers == 1 and self.scheduler is None):
            yield from ((key, _safely(work, key, name)) for key, name in waiting.items())
            return
        client, as_completed = self._client(stack, work)
        futures = {client.submit(_safely, work, key, name, pure=False, retries=TRIALS): (key, name)
                   for key, name in waiting.items()}
        for future in as_completed(futures):
            key, name = futures[future]
            error = future.exception()
            yield key, future.result() if error is None else _failed(name, error)
            future.release()

    def _client(self, stack, work):
        """(a client of Dask, its `as_completed`). The stack ends both client and local processes."""
        forks = FORKS in multiprocessing.get_all_start_methods() and self.scheduler is None
        if forks:  # which imports what workers need while this process imports Dask
            multiprocessing.set_forkserver_preload(["distributed.nanny", _module_of(work)])
            forkserver.ensure_running()
        try:
            # Here, and not above, because Dask is in the optional extra `campaign`.
            from dask import config
            from distributed import Client, LocalCluster, as_completed
        except ModuleNotFoundError as error:
            raise MareyError(f"several --workers need {error.name}: pip install 'marey[campaign]', or "
                             "--workers 1") from None
        address = self.scheduler
        if address is None:
            method = {"distributed.worker.multiprocessing-method": FORKS} if forks else {}
            stack.enter_context(config.set(QUIET | method))
            address = stack.enter_context(LocalCluster(
                n_workers=self.workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0,
                silence_logs=logging.CRITICAL))
        try:
            return stack.enter_context(Client(address)), as_completed
        except OSError as error:
            raise MareyError(f"no Dask scheduler at {address}: {error}") from None


def _module_of(work):
    """The module of a function, or of the function in a partial."""
    return getattr(work, "func", work).__module__


def _safely(work, key: str, name: str) -> dict:
    """The row of a point; what fails is a row, too."""
    try:
        return work(key, name)
    except Exception as error:
        return _failed(name, error)


def _failed(name, error):
    return {"config": name, "mode": FAILED, "why": f"{type(error).__name__}: {error}"}


class Kept:
    """A file of rows that are done: a line of JSON for each, with its key."""

    def __init__(self, path: Path):
        self._path = path

    def found(self, wanted: Mapping[str, str]) -> dict[str, dict]:
        """The rows that earlier calls have kept, by key. A line that was not written to its end is as if it
        were not there."""
        found = {}
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ()
        for line in lines:
            with suppress(ValueError, KeyError):
                entry = json.loads(line)
                if entry["key"] in wanted:
                    found[entry["key"]] = entry["row"]
        return found

    def add(self, key: str, row: dict) -> None:
        """Keeps a row."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "row": row}) + "\n")
