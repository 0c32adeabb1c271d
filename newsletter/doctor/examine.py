"""All checks, in the order in which they are told, and what came of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from newsletter.doctor.clock import check_clock, check_time_zone
from newsletter.doctor.dns_checks import check_dkim, check_dmarc, check_spf
from newsletter.doctor.machine import check_database, check_disk_space, check_issue_folder, check_workers
from newsletter.doctor.mail import check_alerts, check_providers, check_templates
from newsletter.doctor.model import Check, Finding, NotChecked, Result, Status, Surroundings
from newsletter.doctor.site import check_base_url, check_secret_key
from newsletter.errors import ConfigError, NewsletterError


@dataclass(frozen=True, slots=True)
class Entry:
    """A check with its id; `asks_outside`: it is nothing without name servers or other servers."""

    id: str
    check: Check
    asks_outside: bool = False


#: The configuration is checked first of all, by loading it (`of_configuration`).
CHECKS = (
    Entry("database", check_database),
    Entry("workers", check_workers),
    Entry("templates", check_templates),
    Entry("time-zone", check_time_zone),
    Entry("clock", check_clock),
    Entry("provider", check_providers),
    Entry("dns-spf", check_spf, asks_outside=True),
    Entry("dns-dkim", check_dkim, asks_outside=True),
    Entry("dns-dmarc", check_dmarc, asks_outside=True),
    Entry("base-url", check_base_url),
    Entry("secret-key", check_secret_key),
    Entry("disk-space", check_disk_space),
    Entry("issues", check_issue_folder),
    Entry("alerts", check_alerts),
)
CONFIGURATION = "config"


def examined(around: Surroundings, tell: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """What every check finds; `tell` hears it as it comes. A check that breaks has failed, and the others go on."""
    results: list[Result] = []
    for entry in CHECKS:
        for result in _of(entry, around):
            results.append(result)
            tell(result)
    return results


def _of(entry: Entry, around: Surroundings) -> Iterator[Result]:
    if entry.asks_outside and not around.online:
        yield NotChecked(entry.id, "--offline")
        return
    try:
        yield from entry.check(around)
    except NewsletterError as error:
        yield Finding(entry.id, Status.FAIL, str(error), error.hint)
    except Exception as error:  # noqa: BLE001 - one check that is wrong must not hide what the others find
        said = f"the check itself failed: {type(error).__name__}"
        yield Finding(entry.id, Status.FAIL, said, "Please report it.")


def of_configuration(where: str, newsletters: int) -> Finding:
    """A configuration that could be loaded."""
    return Finding(CONFIGURATION, Status.PASS, f"{where}, {newsletters} newsletter{'' if newsletters == 1 else 's'}")


def of_broken_configuration(error: ConfigError) -> list[Result]:
    """A configuration that could not: each problem; nothing else can be checked."""
    found: list[Result] = [
        Finding(CONFIGURATION, Status.FAIL, f"{one.place}: {one.message}", one.suggestion, one.key)
        for one in error.problems
    ]
    return found + [NotChecked(entry.id, "the configuration is broken") for entry in CHECKS]


def document(results: Sequence[Result]) -> dict[str, object]:
    """For programs."""
    counts = tally(results)
    return {
        "ok": not counts[Status.FAIL],
        "checks": [
            {
                "id": one.check,
                "about": one.about,
                "status": one.status.value,
                "message": one.message,
                "do": "" if one.status is Status.PASS else one.do,
            }
            for one in results
            if isinstance(one, Finding)
        ],
        "not_checked": [
            {"id": one.check, "about": one.about, "why": one.why} for one in results if isinstance(one, NotChecked)
        ],
        "passed": counts[Status.PASS],
        "warned": counts[Status.WARN],
        "failed": counts[Status.FAIL],
    }


def tally(results: Sequence[Result]) -> Counter[Status]:
    """How many findings are how."""
    return Counter(one.status for one in results if isinstance(one, Finding))
