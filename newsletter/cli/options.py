"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

#: Which issue.
DateArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DATE",
        help="today (the default), tomorrow, 2026-01-07, 2026-01-07.evening, or the path of an issue file.",
    ),
]
#: Which run.
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="NEWSLETTER/DATE, as in daily-buzz/2026-01-07; or DATE with -n.")
]
#: For programs.
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on one line.")]
