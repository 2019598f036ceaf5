"""The command completion: what a shell needs to complete commands, options and presets."""

import click
from click.shell_completion import get_completion_class

from .base import main

VARIABLE = "_MAREY_COMPLETE"
"""The environment variable by which click is asked to complete."""


@main.command("completion", short_help="Print what a shell needs to complete commands, options and presets.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell):
    """Print what SHELL needs to complete commands, options and presets.

    For bash, put  eval "$(marey completion bash)"  into ~/.bashrc; for zsh the same with zsh into
    ~/.zshrc; for fish, marey completion fish | source  into ~/.config/fish/config.fish.
    """
    click.echo(get_completion_class(shell)(main, {}, "marey", VARIABLE).source())
