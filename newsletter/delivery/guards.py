"""What keeps a run from being planned. Pure: each guard looks at figures and either passes or raises GuardRefused."""

from __future__ import annotations

from newsletter.errors import GuardRefused


def audience_change(previous: int | None, planned: int) -> float | None:
    """How much the audience changed since the last run, as a fraction of it: 0.02 is 2 % more, -1.0 nobody is left.

    None where there is nothing to compare with: no run before, or one that went to nobody.
    """
    if not previous:
        return None
    return (planned - previous) / previous


def refuse_audience_change(previous: int | None, planned: int, limit: float) -> None:
    """Raises GuardRefused where the audience grew or shrank by more than `limit`, a fraction (0.2 is 20 %)."""
    change = audience_change(previous, planned)
    if change is None or abs(change) <= limit:
        return
    raise GuardRefused(
        f"the audience changed from {previous:,} in the last run to {planned:,} ({change:+.1%}); "
        f"max_audience_change allows {limit:.1%}",
        hint="`newsletter subscribers stats` shows what became of each list. Where it is right, set a larger "
        "max_audience_change for this newsletter.",
    )
