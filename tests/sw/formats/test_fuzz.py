"""Every reader against damaged files: read or refused in one line, no traceback, no panic, little
memory.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits its address space as Linux does")


def fuzz(folder, seed, count):
    """Runs the damaged files of a seed in a process of their own; a crash of a library would end
    it.
    """
    run = subprocess.run([sys.executable, "-m", "tests.fuzz", folder / "fuzz", str(seed), str(count)], cwd=ROOT, text=True,
                         capture_output=True, timeout=1800)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert f"{count} files, 0 failures" in run.stdout


def test_damaged_files(tmp_path):
    """Those whose headers claim more than there is, and a few hundred others."""
    fuzz(tmp_path, 0, 400)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_thousands_of_damaged_files(tmp_path, seed):
    fuzz(tmp_path, seed, 5000)
