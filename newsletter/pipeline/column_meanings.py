"""What an operator says that columns of a file mean (`--map COLUMN=MEANING`), looked at before the file is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from newsletter.audience.csv_columns import MEANINGS, normal_name
from newsletter.errors import UsageError

#: From here on two words are one of them misspelt.
_ALIKE = 0.75


def attributes_said(mapped: Mapping[str, str]) -> list[str]:
    """A note for each meaning that is none of ours, and so an attribute. Raises UsageError where it is nearly one."""
    notes = []
    for column, meaning in mapped.items():
        name = normal_name(meaning)
        if not meaning or name in MEANINGS:
            continue
        if near := difflib.get_close_matches(name, MEANINGS, 1, _ALIKE):
            hint = f'Did you mean --map "{column}={near[0]}"? An attribute needs a name that is less like it.'
            raise UsageError(f"--map {column}={meaning}: there is no {meaning!r}", hint=hint)
        notes.append(f"--map {column}={meaning}: kept as the attribute {name}")
    return notes
