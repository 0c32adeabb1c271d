"""Cells that a spreadsheet would take for a formula (OWASP, CSV injection), guarded on the way out and back in."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"''*[=+\-@\t\r]")


def guarded(text: str) -> str:
    """`text`, with an apostrophe before what a spreadsheet would run; `unguarded` gives the same text back."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """What was written as `guarded(text)`."""
    return text[1:] if _GUARDED.match(text) else text
