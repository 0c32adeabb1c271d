"""Chooses whom an issue goes to, from subscriber files; everyone else on the lists keeps a reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from newsletter.audience.model import Audience, ConsentState, Excluded, Exclusion, Subscriber


def choose_audience(rows: Iterable[Subscriber | Excluded], lists: Collection[str]) -> Audience:
    """The audience of `lists`, in the order of the rows. Someone on two of the lists counts once.

    A second row of the same person on the same list is excluded as a duplicate. A person who is pending in one row
    and has consented in another has consented.
    """
    members: dict[str, Subscriber] = {}
    pending: dict[str, Excluded] = {}
    seen: set[tuple[str, str]] = set()
    excluded: list[Excluded] = []
    for row in rows:
        on = [name for name in row.lists if name in lists]
        if not on:
            continue
        if isinstance(row, Excluded):
            excluded.append(row)
            continue
        repeated = all((row.key, name) in seen for name in on)
        seen.update((row.key, name) for name in on)
        if row.state is ConsentState.SUBSCRIBED and row.key not in members:
            members[row.key] = row
        elif repeated:
            excluded.append(Excluded(row.address, Exclusion.DUPLICATE, "stands on the list before", row.place))
        elif row.key not in members:
            pending.setdefault(row.key, Excluded(row.address, Exclusion.PENDING, "no consent is recorded", row.place))
    excluded += [row for key, row in pending.items() if key not in members]
    # a row whose consent cannot be read excludes nobody who has consented in another
    excluded = [one for one in excluded if one.reason is not Exclusion.PENDING or one.address.casefold() not in members]
    return Audience(tuple(members.values()), tuple(excluded))
