"""Words on single deliveries: what the provider said of those it did not take, and what an operator decided."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import delivery_note, subscriber
from newsletter.store.upserting import insert_into

#: The code of an operator's word, which stays when the delivery is accepted later.
OPERATOR = "operator"
_LONGEST = 500
_LONGEST_CODE = 50
_IDS_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class Note:
    """Words on one delivery. `code` is the provider's (SMTP reply, enhanced status, an API's error), if it gave one."""

    code: str
    reason: str
    at: dt.datetime


def clean(words: str, longest: int = _LONGEST) -> str:
    """What a provider said, on one line, without characters that control a terminal or that no database keeps."""
    shown = "".join(" " if unicodedata.category(one) in _NOT_SHOWN else one for one in words[: 4 * longest])
    return re.sub(r"\s+", " ", shown).strip()[:longest]


def keep_notes(connection: sa.Connection, run_id: int, notes: Mapping[int, tuple[str, str]], now: dt.datetime) -> None:
    """Puts down (code, reason) for each subscriber, in place of what was there; nothing of those erased since."""
    known = _known(connection, sorted(notes))
    rows = [
        {
            "run_id": run_id,
            "subscriber_id": one,
            "code": clean(code, _LONGEST_CODE),
            "reason": clean(reason),
            "at": seconds(now),
        }
        for one, (code, reason) in sorted(notes.items())
        if one in known
    ]
    if rows:
        insert = insert_into(connection, delivery_note)
        new = {name: insert.excluded[name] for name in ("code", "reason", "at")}
        connection.execute(insert.on_conflict_do_update(index_elements=["run_id", "subscriber_id"], set_=new), rows)


def _known(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for start in range(0, len(ids), _IDS_A_TIME):
        some = ids[start : start + _IDS_A_TIME]
        found.update(connection.scalars(sa.select(subscriber.c.id).where(subscriber.c.id.in_(some))))
    return found


def drop_notes(connection: sa.Connection, run_id: int, ids: Iterable[int]) -> None:
    """Takes away what no longer matters: these were accepted. An operator's word stays."""
    rows = sorted(ids)
    for start in range(0, len(rows), _IDS_A_TIME):
        some = rows[start : start + _IDS_A_TIME]
        connection.execute(
            sa.delete(delivery_note).where(
                delivery_note.c.run_id == run_id,
                delivery_note.c.subscriber_id.in_(some),
                delivery_note.c.code != OPERATOR,
            )
        )


def notes_on(connection: sa.Connection, run_id: int, ids: Sequence[int]) -> dict[int, Note]:
    """The notes on these subscribers."""
    found: dict[int, Note] = {}
    for start in range(0, len(ids), _IDS_A_TIME):
        rows = connection.execute(
            sa.select(delivery_note).where(
                delivery_note.c.run_id == run_id,
                delivery_note.c.subscriber_id.in_(list(ids[start : start + _IDS_A_TIME])),
            )
        )
        found |= {row.subscriber_id: Note(row.code, row.reason, moment(row.at)) for row in rows}
    return found


#: Controls, formats (they turn the direction of a line), surrogates, line and paragraph separators.
_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
