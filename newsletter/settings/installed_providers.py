"""Kinds of providers that other installed packages bring, by their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

#: The group of entry points; each is called as `factory(name, options)` and gives a MailProvider.
GROUP = "newsletter.providers"


def installed_kinds() -> dict[str, EntryPoint]:
    """The entry points of the group by their names. Nothing of the packages is imported."""
    return {one.name: one for one in entry_points(group=GROUP)}
