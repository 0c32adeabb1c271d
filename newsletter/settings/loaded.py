"""The settings as they were loaded: with the file, its folder, and the origin of each value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from newsletter.errors import Place
from newsletter.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings with where they come from.

    `path` is the file as it was named, `folder` its folder (absolute): paths in the settings are relative to it.
    `origins` says for each key that is set where: `config.toml:31`, or `environment NEWSLETTER__…`; all other keys
    have their defaults. `written` is the document as the user wrote it, for `show`.
    """

    settings: Settings
    path: Path
    folder: Path
    origins: Mapping[str, str]
    written: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def resolve(self, path: Path | str) -> Path:
        """A path of the settings, made absolute from the folder of the config file."""
        return self.folder / path

    def place(self, key: str) -> Place:
        """Where `key`, such as `paths.output`, is set, or the nearest table around it."""
        while key and key not in self.origins:
            key = key.rpartition(".")[0]
        origin = self.origins.get(key, "")
        line = origin.rpartition(":")[2]
        if origin and not line.isdigit():  # a variable of the environment
            return Place(origin)
        return Place(self.path, int(line) if line else None)
