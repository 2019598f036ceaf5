"""The servers that tests share."""

import pytest

from tests.sw.serve.openers import Emulated
from tests.sw.serve.servers import Running, known


@pytest.fixture(scope="session")
def program():
    """The program that is served, with its integer model."""
    return known()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server with one quick tile."""
    with Running(tmp_path_factory.mktemp("server"), Emulated()) as running:
        yield running


@pytest.fixture(scope="module")
def slow_server(tmp_path_factory):
    """A server with one tile that takes a twentieth of a second for each token."""
    with Running(tmp_path_factory.mktemp("slow"), Emulated(0.05), most_waiting=4) as running:
        yield running
