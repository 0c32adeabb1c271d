"""Rules between keys: what no single key can know. Pure; each rule names the key to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from newsletter.settings.cron_line import parse_cron
from newsletter.settings.model import Newsletter, Settings
from newsletter.settings.moments import WEEKDAYS
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
    yield from _soft_bounces_are_there(settings)
    yield from _calls_go_before_recipients(settings)
    for name, newsletter in settings.newsletters.items():
        for rule in _NEWSLETTER_RULES:
            yield from rule(settings, ("newsletters", name), newsletter)


def _soft_bounces_are_there(settings: Settings) -> Iterator[Broken]:
    """Soft bounces are counted among the events that are kept."""
    if settings.retention.events < settings.bounces.soft_within:
        events = ("retention", "events")
        yield Broken(
            events,
            "events are removed before soft bounces have been counted (`bounces.soft_within`)",
            (events, ("bounces", "soft_within")),
            "Keep them for as long at least.",
        )


def _calls_go_before_recipients(settings: Settings) -> Iterator[Broken]:
    """With a run's recipients the calls that were made for them go, too."""
    keep = settings.retention
    if "attempts" in keep.model_fields_set and keep.attempts > keep.runs:
        attempts, runs = ("retention", "attempts"), ("retention", "runs")
        yield Broken(
            attempts,
            "`attempts` is longer than `runs`, and with a run's recipients the calls for them go, too",
            (attempts, runs),
            "Keep `runs` for as long as `attempts` at least.",
        )


def _time_or_cron(_: Settings, table: KeyPath, newsletter: Newsletter) -> Iterator[Broken]:
    schedule = newsletter.schedule
    if schedule.cron and schedule.time is not None:
        cron, time = (*table, "schedule", "cron"), (*table, "schedule", "time")
        yield Broken(cron, "`time` and `cron` both stand here", (cron, time), "Keep one of them.")
    if not schedule.cron and schedule.time is None:
        time = (*table, "schedule", "time")
        yield Broken(time, "neither `time` nor `cron` stands here", (time,), 'Write time = "06:30".')


def _deadline_after_time(_: Settings, table: KeyPath, newsletter: Newsletter) -> Iterator[Broken]:
    """An edition's deadline may be the next day's; that of the day's issue is its own day's."""
    schedule = newsletter.schedule
    if schedule.time is None and not schedule.cron:
        return
    which = "cron" if schedule.time is None else "time"
    time = schedule.time or parse_cron(schedule.cron).time
    if schedule.deadline <= time:
        deadline, at = (*table, "schedule", "deadline"), (*table, "schedule", which)
        given = "deadline" in schedule.model_fields_set
        said = "the deadline" if given else f"the default deadline, {schedule.deadline:%H:%M},"
        yield Broken(
            deadline,
            f"{said} is not after the time of the issue, {time:%H:%M}",
            (deadline, at),
            "Set `deadline` to a later time of the same day.",
            at=deadline if given else at,
        )


def _cron_on_some_day(_: Settings, table: KeyPath, newsletter: Newsletter) -> Iterator[Broken]:
    schedule = newsletter.schedule
    weekdays = frozenset(number for number, day in enumerate(WEEKDAYS, start=1) if day in schedule.days)
    if schedule.cron and not parse_cron(schedule.cron).ever_fires(weekdays):
        cron, days = (*table, "schedule", "cron"), (*table, "schedule", "days")
        yield Broken(cron, "this cron line never fires on one of `days`", (cron, days), "Take `days` out, or widen it.")


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
    _cron_on_some_day,
    _provider_is_there,
    _many_machines_need_postgresql,
)
