"""What a command does not need, it does not load: that is most of the time that a short command takes."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from newsletter.cli.announced import Announced
from newsletter.cli.app import app


def announced() -> dict[str, Announced]:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return {name: one for name, one in group.commands.items() if isinstance(one, Announced)}


def test_what_the_help_announces_is_what_each_command_says_of_itself() -> None:
    commands = announced()
    assert len(commands) > 20
    for name, one in commands.items():
        command = one.made()
        assert not command.hidden
        # the whole first paragraph: how much of it is shown depends on the terminal
        for width in (20, 55, 200):
            assert one.get_short_help_str(width) == command.get_short_help_str(width), name
