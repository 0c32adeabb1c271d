"""What findings add up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from newsletter.preflight.model import Finding, Level


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, then by line (those without a line last), then by id; equal findings once."""
    return tuple(
        sorted(
            dict.fromkeys(findings),
            key=lambda one: (-one.level.rank, one.line is None, one.line or 0, one.id),
        )
    )


def worst_level(findings: Iterable[Finding]) -> Level | None:
    """The worst level there is; None without findings."""
    return max((one.level for one in findings), key=lambda level: level.rank, default=None)


def failing(findings: Sequence[Finding], fail_level: Level = Level.ERROR) -> tuple[Finding, ...]:
    """The findings at `fail_level` or worse, in their order. An issue passes if there are none."""
    return tuple(one for one in findings if one.level.rank >= fail_level.rank)
