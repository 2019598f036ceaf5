"""What the server counts, for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
"""Bounds of the histograms' buckets."""


class Metrics:
    """The counters of one server, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self):
        self._registry = registry = CollectorRegistry()

        def make(kind, name, text, labels=(), **options):
            return kind(f"marey_{name}", text, labels, registry=registry, **options)

        self.responses = make(Counter, "responses", "Responses by path and status.", ("path", "status"))
        self.left = make(Counter, "clients_left", "Requests whose client left before the answer was complete.")
        self.prompt_tokens = make(Counter, "prompt_tokens", "Tokens of prompts.")
        self.known_tokens = make(Counter, "known_tokens", "Tokens of prompts that a tile's KV cache had already.")
        self.tokens = make(Counter, "tokens", "Tokens that the tiles made.")
        self.predicted = make(Counter, "predicted_cycles", "Clock cycles that were predicted for the tiles' runs.")
        self.measured = make(Counter, "measured_cycles", "Clock cycles that the tiles counted in their runs.")
        self.restarts = make(Counter, "tile_restarts", "Restarts of a tile that had failed.")
        self.waiting = make(Gauge, "waiting_requests", "Requests that wait for a tile.")
        self.busy = make(Gauge, "busy_tiles", "Tiles at work.")
        self.ready = make(Gauge, "ready_tiles", "Tiles that have loaded the program.")
        self.wait = make(Histogram, "wait_seconds", "Seconds between a request and its tile's beginning.", buckets=SECONDS)
        self.token_wall = make(Histogram, "token_seconds", "Wall-clock seconds between tokens.", buckets=SECONDS)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
