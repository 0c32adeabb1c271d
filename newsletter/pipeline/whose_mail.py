"""Whose mail a returned message is about: by tokens of ours in it, which nobody can make who was not sent one.

An address in a message proves nothing: anybody can write a bounce that names somebody else. So a person is found by the
token of the envelope sender it came to, or by the unsubscribe link of the mail that it returns; and by nothing else.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from newsletter.delivery.ledger import Ledger
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.names import RunName
from newsletter.delivery.return_paths import TOKEN_LENGTH, TOKEN_PLACE, ReturnPath
from newsletter.rendering.letter import message_id
from newsletter.settings.model import Newsletter

#: Texts of the shape of a token that are tried in one message.
_MOST_TRIED = 30
#: The latest runs, among which that of a mail is looked for.
_RUNS = 200
#: Base32 in either case. What stands around it may be of its letters, too: `bounces{token}@…`.
_RETURN_TOKEN = re.compile(rf"(?<![A-Za-z2-7])[A-Za-z2-7]{{{TOKEN_LENGTH},64}}(?=[^\s@<>]{{0,24}}@)")
_UNSUBSCRIBE_LINK = re.compile(r"/unsubscribe/([a-z0-9-]{1,100})/([A-Za-z0-9_-]{32})(?![A-Za-z0-9_-])")
_MESSAGE_ID = re.compile(r"<[0-9a-f]{32}@[A-Za-z0-9.-]{1,255}>")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose delivery it was; number 0 is nobody (a test). `run` is None where the ledger has none such; `date` is the
    issue's, where it is known."""

    newsletter: str
    subscriber_id: int
    run: RunName | None = None
    date: dt.date | None = None


class Owners:
    """Finds owners. For one look into the mailbox: what it learns of runs it keeps."""

    def __init__(
        self, newsletters: Mapping[str, Newsletter], base_url: str, keys: Sequence[str], ledger: Ledger
    ) -> None:
        self._newsletters = newsletters
        self._base_url = base_url
        self._keys = keys
        self._ledger = ledger
        # also of newsletters that are no longer in the settings: their bounces come for days
        names = {*newsletters, *(run.name.newsletter for run in ledger.runs(limit=_RUNS))}
        self._makers = {name: LinkMaker(base_url, name, keys) for name in sorted(names)}
        self._leaving = [
            re.compile(
                re.escape(one.unsubscribe_mailto).replace(re.escape(TOKEN_PLACE), "([a-z2-7]{40})"), re.IGNORECASE
            )
            for one in newsletters.values()
            if one.unsubscribe_mailto
        ]
        self._runs: dict[str, Sequence[RunName]] = {}

    def of_addresses(self, fields: Iterable[str]) -> Owner | None:
        """The owner by the first token in an address among these fields."""
        for text in fields:
            for path in self._return_paths(text):
                return self._owner(path)
        return None

    def leaving(self, fields: Iterable[str]) -> Owner | None:
        """The owner by an address of `unsubscribe_mailto`: who writes there leaves."""
        tokens = [found[1] for text in fields for pattern in self._leaving for found in pattern.finditer(text)]
        paths = (path for token in tokens[:_MOST_TRIED] if (path := self._read(token)))
        return next(map(self._owner, paths), None)

    def of_quoted(self, text: str) -> Owner | None:
        """The owner of the mail that is returned within; None where there are tokens of several people, too."""
        found = [self._owner(path) for path in self._return_paths(text)]
        for name, token in _UNSUBSCRIBE_LINK.findall(text)[:_MOST_TRIED]:
            maker = self._makers.get(name) or LinkMaker(self._base_url, name, self._keys)
            number = maker.subscriber_id(Purpose.UNSUBSCRIBE, token)
            if number is not None:
                found.append(Owner(name, number))
        if len({(one.newsletter, one.subscriber_id) for one in found}) != 1:
            return None
        with_run = next((one for one in found if one.run or one.date), None)
        return with_run or replace(found[0], run=self._run_of(found[0], text))

    def _return_paths(self, text: str) -> Iterator[ReturnPath]:
        shaped = [found[0] for found in _RETURN_TOKEN.finditer(text)]
        for one in shaped[:_MOST_TRIED]:
            for token in dict.fromkeys((one[-TOKEN_LENGTH:], one[:TOKEN_LENGTH])):
                if path := self._read(token):
                    yield path

    def _read(self, token: str) -> ReturnPath | None:
        read = (maker.return_paths.read(token) for maker in self._makers.values())
        return next((path for path in read if path), None)

    def _owner(self, path: ReturnPath) -> Owner:
        run = path.run()
        if run is None:
            newsletter = self._newsletters.get(path.newsletter)
            planned = tuple(newsletter.schedule.editions) if newsletter else ()
            run = path.run((*planned, *(one.slot.partition(".")[2] for one in self._latest(path.newsletter))))
        known = run if run and self._ledger.run(run) else None
        return Owner(path.newsletter, path.subscriber_id, known, path.date)

    def _run_of(self, owner: Owner, text: str) -> RunName | None:
        """The run by the returned mail's Message-ID. Anybody can make one up; here it only tells the person's runs
        apart."""
        newsletter = self._newsletters.get(owner.newsletter)
        ids = set(_MESSAGE_ID.findall(text)[:_MOST_TRIED])
        if newsletter is None or not ids:
            return None
        number, domain = str(owner.subscriber_id), newsletter.sender.domain
        runs = self._latest(owner.newsletter)
        return next((run for run in runs if message_id(str(run), number, domain) in ids), None)

    def _latest(self, newsletter: str) -> Sequence[RunName]:
        if newsletter not in self._runs:
            self._runs[newsletter] = [run.name for run in self._ledger.runs(newsletter, limit=_RUNS)]
        return self._runs[newsletter]
