"""Writes files such that nobody ever finds half of one: there is the old content, or the whole new
one."""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def new_content(path: Path) -> Iterator[Path]:
    """Gives the `with` block a temporary path to write to; what the block has written there then
    becomes `path`.

    The temporary file lies beside `path`, reaches the disk before it gets the name `path`, and gets
    the permissions that `path` had. If the block raises an exception, the temporary file is removed
    and `path` stays as it was. A symbolic link is followed. A `path` that is no regular file (a
    pipe, a device) is given to the block itself.

    OSError names `path` where the operating system names no file, or the temporary one. numpy's
    OSError of a file that was not written to its end, which has no number, becomes one that has.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        # "x" gives the file the permissions of any new file, and raises if none can be made here.
        with temporary.open("x"):
            pass
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        yield temporary
        replace(temporary, target)
    except OSError as error:
        if error.errno is None:
            raise OSError(errno.EIO, "was not written to its end: is the disk full?", str(path)) from error
        if error.filename in (None, temporary, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def new_contents(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Gives the `with` block a function from a name to a temporary path; at its end, what was
    written there becomes the files of these names in `folder`, all of them or, after an exception,
    none.

    The folder is made if it is not there, and removed again after an exception.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as files:
            yield lambda name: files.enter_context(new_content(folder / name))
    except BaseException:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise


def write_file(path: Path, content: bytes | str) -> None:
    """Writes a whole file, text as UTF-8, by `new_content`. OSError names `path`."""
    with new_content(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def replace(source: Path, target: Path) -> None:
    """Renames a finished file to `target`, once its content is on the disk.

    Both are in one file system.
    """
    with source.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(source, target)
