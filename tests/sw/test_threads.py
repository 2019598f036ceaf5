"""Threads of OpenBLAS: they are told to sleep before numpy starts them."""

import os
import subprocess
import sys

import pytest

NAME = "OPENBLAS_THREAD_TIMEOUT"
SCRIPT = f"""
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print(os.environ.get("{NAME}"))
sys.meta_path.insert(0, Watch())
import marey.sw
"""


@pytest.mark.parametrize(("given", "expected"), [({}, "4"), ({NAME: "20"}, "20")], ids=["by default", "as the user says"])
def test_they_sleep_at_once(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != NAME} | given
    found = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, text=True, capture_output=True, check=True)
    assert found.stdout.split() == [expected]
