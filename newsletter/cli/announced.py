"""Commands that the help lists by what is announced of them, and that are imported and built when one is asked for.

To import and build all of them takes longer than what most of them do.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

#: Characters of a sentence that is still shown whole.
_LONGEST = 1_000


class Spoken(TyperGroup):
    """A group whose help says what each command does in a whole sentence, on as many lines as that takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list of commands."""
        there = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, one.get_short_help_str(_LONGEST)) for name, one in there if one is not None and not one.hidden]
        if shown:
            with formatter.section("Commands"):
                formatter.write_dl(shown)


def group_of_commands(about: str) -> typer.Typer:
    """An empty group, for commands of one kind."""
    return typer.Typer(help=about, cls=Spoken, no_args_is_help=True, rich_markup_mode=None)


class Announced(TyperCommand):
    """A command's name and the first paragraph of its help; `where` it is: `module:attribute`, in this package."""

    def __init__(self, name: str, where: str, about: str) -> None:
        super().__init__(name, help=about)
        self.module, _, self.attribute = where.partition(":")

    def made(self) -> Any:
        """The command itself, or the group of commands."""
        found = getattr(import_module(f"newsletter.cli.{self.module}"), self.attribute)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(self.name)(found)
        return get_command(alone)


class AnnouncedCommands(Spoken):
    """A group of them; what it runs is the command itself."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is asked for, its name, and what follows it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, made(command), rest


def made(command: Any) -> Any:
    """The command itself, where it was only announced."""
    return command.made() if isinstance(command, Announced) else command
