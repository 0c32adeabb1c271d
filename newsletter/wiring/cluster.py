"""Whether this installation can do what `delivery.engine = "procrastinate"` asks for."""

from __future__ import annotations

from importlib.util import find_spec

from newsletter.errors import ConfigError, Problem
from newsletter.settings.loaded import Loaded

ENGINE = "procrastinate"


def refuse_unfit(loaded: Loaded, newsletter: str) -> None:
    """Raises ConfigError where workers are to send this newsletter and Procrastinate is not installed; GuardRefused
    where it needs other tables than this program makes. That the database is PostgreSQL the settings have seen to."""
    if loaded.settings.newsletters[newsletter].delivery.engine != ENGINE:
        return
    if find_spec("procrastinate") is None:
        key = f"newsletters.{newsletter}.delivery.engine"
        message = f"{key}: `procrastinate` needs the package of that name, which is not installed"
        suggestion = 'Install it: pip install "newsletter[cluster]". Or use "threads".'
        raise ConfigError([Problem(key, message, loaded.place(key), suggestion=suggestion)])
    from newsletter.store.job_schema import refuse_other_schema  # reads it, which most commands need not

    refuse_other_schema()
