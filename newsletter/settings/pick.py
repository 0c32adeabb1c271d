"""Which newsletter a command means."""

from __future__ import annotations

from newsletter.errors import UsageError
from newsletter.settings.model import Newsletter, Settings
from newsletter.settings.suggest import did_you_mean


def pick_newsletter(settings: Settings, name: str | None) -> tuple[str, Newsletter]:
    """The newsletter called `name`, or the only one there is. Raises UsageError with the names otherwise."""
    if name is None and len(settings.newsletters) == 1:
        return next(iter(settings.newsletters.items()))
    names = ", ".join(settings.newsletters)
    if name is None:
        raise UsageError(f"there are several newsletters: {names}", hint="Name one with -n.")
    if name not in settings.newsletters:
        meant = did_you_mean(name, settings.newsletters)
        raise UsageError(
            f"there is no newsletter `{name}`; there is {names}", hint=meant or "Name one of these with -n."
        )
    return name, settings.newsletters[name]
