"""What all tables of config.toml have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of config.toml: frozen, and without room for unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=False,
        defer_build=True,  # all tables are validated as parts of Settings; a validator of each alone is seldom needed
    )
