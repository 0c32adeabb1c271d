"""Rules between keys: what no single key can know. Pure; each rule names the key to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from newsletter.settings.model import Newsletter, Settings
from newsletter.settings.suggest import did_you_mean
from newsletter.settings.toml_lines import KeyPath


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken rule and the key to change; `concerns` are all keys it looks at, `at` is the one to point at."""

    path: KeyPath
    message: str
    concerns: tuple[KeyPath, ...]
    suggestion: str = ""
    at: KeyPath | None = None


def cross_key_faults(settings: Settings) -> Iterator[Broken]:
    """Every rule that the settings break."""
    for name, newsletter in settings.newsletters.items():
        for rule in _NEWSLETTER_RULES:
            yield from rule(settings, ("newsletters", name), newsletter)


def _time_or_cron(_: Settings, table: KeyPath, newsletter: Newsletter) -> Iterator[Broken]:
    schedule = newsletter.schedule
    if schedule.cron and schedule.time is not None:
        cron, time = (*table, "schedule", "cron"), (*table, "schedule", "time")
        yield Broken(cron, "`time` and `cron` both stand here", (cron, time), "Keep one of them.")


def _deadline_after_time(_: Settings, table: KeyPath, newsletter: Newsletter) -> Iterator[Broken]:
    schedule = newsletter.schedule
    if schedule.time is not None and schedule.deadline <= schedule.time:
        deadline, time = (*table, "schedule", "deadline"), (*table, "schedule", "time")
        given = "deadline" in schedule.model_fields_set
        which = "the deadline" if given else f"the default deadline, {schedule.deadline:%H:%M},"
        yield Broken(
            deadline,
            f"{which} is not after the time of the issue, {schedule.time:%H:%M}",
            (deadline, time),
            "Set `deadline` to a later time of the same day.",
            at=deadline if given else time,
        )


def _provider_is_there(settings: Settings, table: KeyPath, newsletter: Newsletter) -> Iterator[Broken]:
    path = (*table, "delivery", "provider")
    wanted = newsletter.delivery.provider
    if wanted not in settings.providers:
        there = ", ".join(f"`{name}`" for name in settings.providers)
        yield Broken(
            path,
            f"there is no such provider; [providers] holds {there}",
            (path, ("providers", wanted)),
            did_you_mean(wanted, settings.providers),
        )


def _many_machines_need_postgresql(settings: Settings, table: KeyPath, newsletter: Newsletter) -> Iterator[Broken]:
    path = (*table, "delivery", "engine")
    if newsletter.delivery.engine == "procrastinate" and settings.database.url.startswith("sqlite"):
        yield Broken(
            path,
            "`procrastinate` needs PostgreSQL, and `database.url` names an SQLite file",
            (path, ("database", "url")),
            'Use "threads", or set `database.url`.',
        )


_NEWSLETTER_RULES: tuple[Callable[[Settings, KeyPath, Newsletter], Iterator[Broken]], ...] = (
    _time_or_cron,
    _deadline_after_time,
    _provider_is_there,
    _many_machines_need_postgresql,
)
