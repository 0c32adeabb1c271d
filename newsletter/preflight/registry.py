"""All checks, and the examination of an issue by them.

examine(examined)  →  findings, the worst first, then by line
CHECKS             the checks `examine` makes, in the order of the modules below
RULES              every rule a finding can come from, those of `--links` included; docs/reference/checks.md lists them
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from types import ModuleType

from newsletter.preflight import (
    client_support,
    completeness,
    dates,
    earlier,
    images,
    link_hosts,
    links,
    markdown_syntax,
    obligations,
    plain_links,
    size,
    structure,
    subject,
    wording,
)
from newsletter.preflight.check import Check, Rule
from newsletter.preflight.link_rules import LINK_RULES
from newsletter.preflight.model import Examined, Finding
from newsletter.preflight.verdict import in_order

_log = logging.getLogger(__name__)


def checks_of(module: ModuleType) -> tuple[Check, ...]:
    """The checks a module defines, in the order it defines them."""
    return tuple(value for value in vars(module).values() if isinstance(value, Check))


CHECKS: tuple[Check, ...] = tuple(
    found
    for module in (
        subject,
        dates,
        structure,
        wording,
        markdown_syntax,
        earlier,
        links,
        plain_links,
        link_hosts,
        images,
        size,
        obligations,
        completeness,
        client_support,
    )
    for found in checks_of(module)
)

RULES: tuple[Rule, ...] = (*(check.rule for check in CHECKS), *LINK_RULES)


def examine(examined: Examined, checks: Iterable[Check] = CHECKS) -> tuple[Finding, ...]:
    """Make every check. Returns the findings, the worst first, then by line in the source.

    A check that breaks does not hide the others: it becomes a finding of its own id at the worst level of that id, for
    what it would have found is not known; the traceback goes to the log. To get its exception, call the check itself.
    """
    found: list[Finding] = []
    for check in checks:
        try:
            found += check.findings(examined)
        except Exception as error:  # noqa: BLE001 - any fault of one check is reported and the others go on
            _log.exception("preflight check %s broke", check.rule.id)
            found.append(_broken(check.rule, error))
    return in_order(found)


def _broken(rule: Rule, error: Exception) -> Finding:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename.replace(chr(92), '/').rpartition('/')[2]}:{last.lineno}"
    return rule.finding(
        f"this check broke and found nothing out: {type(error).__name__}: {error} ({where})",
        hint="This is a fault of the program, not of the issue: please report it with the issue file.",
    )
