"""Runs commands of the command line in this process."""

from click.testing import CliRunner

from marey.sw.cli import main


def marey(*arguments):
    """The result of `marey` with these arguments."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments, code=2, word=""):
    """One line on stderr, nothing on stdout, no traceback, the right exit status."""
    result = marey(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == "" and word in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if result.stderr.startswith("marey: "):
        assert len(result.stderr.splitlines()) == 1
    return result.stderr
