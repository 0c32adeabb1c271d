"""What every command starts with: the global options, the settings and the issue that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from newsletter.cli.console import Console

if TYPE_CHECKING:
    from newsletter.pipeline.request import IssueRequest
    from newsletter.settings.loaded import Loaded


@dataclass(slots=True)
class Globals:
    """The global options, kept as the Typer context's object."""

    config: Path = Path("config.toml")
    newsletter: str | None = None
    console: Console = field(default_factory=Console)

    def settings(self) -> Loaded:
        """The settings. Raises ConfigError."""
        from newsletter import wiring  # loads every room; `--help` needs none

        return wiring.settings(self.config)

    def request(self, date: str | None) -> IssueRequest:
        """The issue that DATE names, of the newsletter of -n. Raises ConfigError or UsageError."""
        from newsletter import wiring  # see settings

        return wiring.request(self.settings(), self.newsletter, date)


def globals_of(context: typer.Context, *, json: bool = False) -> Globals:
    """The global options of this call; `json` is the command's own --json."""
    found = context.find_object(Globals)
    if found is None:  # a command called outside `main`
        found = context.obj = Globals()
    found.console.json = json
    return found
