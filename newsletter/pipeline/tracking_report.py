"""How often the links and the image of an issue were requested, in numbers: what `status` shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from newsletter.events.tracking import HitCount, HitKind, Verdict
from newsletter.settings.model import Tracking


@dataclass(frozen=True, slots=True)
class HitSum:
    """All requests of one kind, and those of them that readers made, as far as that can be told."""

    raw: int
    human: int

    @classmethod
    def of(cls, counts: Sequence[HitCount]) -> HitSum:
        """Added up."""
        return cls(sum(one.raw for one in counts), sum(one.counts.get(Verdict.HUMAN, 0) for one in counts))


@dataclass(frozen=True, slots=True)
class TrackingReport:
    """Clicks and opens of one issue; None of what is not measured. `links` are in the order of the issue."""

    clicks: HitSum | None = None
    opens: HitSum | None = None
    links: tuple[HitCount, ...] = ()


def tracking_report(counts: Sequence[HitCount], tracking: Tracking | None) -> TrackingReport:
    """The report of what is measured by these settings, or was when the issue went out. None: there are no settings."""
    links = tuple(one for one in counts if one.kind is HitKind.CLICK)
    images = tuple(one for one in counts if one.kind is HitKind.OPEN)
    clicks = HitSum.of(links) if links or (tracking is not None and tracking.clicks) else None
    opens = HitSum.of(images) if images or (tracking is not None and tracking.opens) else None
    return TrackingReport(clicks, opens, links)


def tracking_document(found: TrackingReport) -> dict[str, object]:
    """The part of `status RUN --json` about it; empty where nothing is measured."""
    document: dict[str, object] = {}
    if found.clicks is not None:
        links = [{"number": one.number, "url": one.url, **_sums(HitSum.of([one]))} for one in found.links]
        document["clicks"] = {**_sums(found.clicks), "links": links}
    if found.opens is not None:
        document["opens"] = _sums(found.opens)
    return document


def _sums(found: HitSum) -> dict[str, int]:
    return {"raw": found.raw, "human": found.human}
