"""Work in a process of its own, which sees what its parent has made."""

import os
import pickle
import select
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def forked(work: Callable[[], Any], limit_s: float, log: Path) -> Any:
    """What `work()` returns in a fork of this process; a text if it ends without a result or takes too long.

    What it prints goes to the file `log`.
    """
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(printed, 1)
            os.dup2(printed, 2)
            with os.fdopen(into, "wb") as file:
                file.write(pickle.dumps(work()))
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as file:
        ready = select.select([file], [], [], limit_s)[0]
        answer = file.read() if ready else b""
    if not ready:
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not ready:
        return "a time limit"
    return pickle.loads(answer) if answer else "a process that ended"
