"""What workers on several machines share of a provider's account and of a run. `newsletter.store` keeps it.

Durations are seconds, and every moment is the database's own: the clocks of the machines may differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket: `rate` tokens a second, and at most `most` at once."""

    rate: float
    most: float


@dataclass(frozen=True, slots=True)
class Reserved:
    """Tokens that were promised: in how many seconds they are there, and for how many the provider wants no call. So
    many passed before they were asked for: `queued`, for a connection."""

    wait: float
    held: float
    queued: float = 0.0


class PaceRecords(Protocol):
    """The buckets of one provider account. Each method is one short transaction, and raises what
    `newsletter.store.failures` says."""

    def reserve(self, bucket: Bucket, count: float) -> Reserved:
        """Takes `count` tokens out of the account's bucket, be it into debt: whoever comes next waits longer."""
        ...

    def reserve_at_once(self, bucket: Bucket, count: float) -> Reserved | None:
        """The same where they are there and no hold is on; else None, and nothing was taken."""
        ...

    def take_some(self, wanted: Mapping[str, tuple[Bucket, int]]) -> Mapping[str, tuple[int, float]]:
        """(bucket, how many are wanted) by recipient domain → (how many were taken, in how many seconds the next one is
        there). No bucket gets into debt."""
        ...

    def hold(self, bucket: Bucket, seconds: float) -> None:
        """The provider wants no call for so long from now on; a longer hold stays."""
        ...

    def held(self) -> float:
        """For how long it wants none yet; 0.0: it does not mind."""
        ...


@dataclass(frozen=True, slots=True)
class Tally:
    """What calls of a run came to: how many in a row, at the end, of which nothing is known; how many recipients were
    refused, and how many refused or accepted."""

    unknown_in_a_row: int = 0
    refused: int = 0
    decided: int = 0

    def with_call(self, *, lost: bool, refused: int, decided: int) -> Tally:
        """After one more; `lost`: nothing is known of it."""
        in_a_row = self.unknown_in_a_row + 1 if lost else 0
        return Tally(in_a_row, self.refused + refused, self.decided + decided)


class TallyRecords(Protocol):
    """The tally of one run, over all workers."""

    def add(self, *, lost: bool, refused: int, decided: int) -> Tally:
        """Counts a call, and returns the tally with it. Raises what `newsletter.store.failures` says."""
        ...
