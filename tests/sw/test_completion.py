"""Shell completion: the scripts of shells, and what they get."""

import pytest
from click.shell_completion import ShellComplete

from marey.sw.cli import main
from tests.sw.commands import marey, refused


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    result = marey("completion", shell)
    assert result.exit_code == 0 and f"_MAREY_COMPLETE={shell}_complete" in result.stdout


def test_another_shell_is_refused():
    assert "tcsh" in refused("completion", "tcsh")


@pytest.mark.parametrize(("words", "incomplete", "found"), [
    ([], "gen", {"generate"}), ([], "s", {"serve", "sweep"}), (["generate"], "--verb", set()),
    (["generate"], "--verif", {"--verify"}), (["bench", "--config"], "lpu", {"lpu16x16"})])
def test_commands_options_and_presets_are_completed(words, incomplete, found):
    completions = ShellComplete(main, {}, "marey", "_MAREY_COMPLETE").get_completions(words, incomplete)
    assert {item.value for item in completions} == found
