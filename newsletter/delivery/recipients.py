"""Turns an audience into recipients. Pure: the same audience gives the same recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.model import Recipient, Recipients
from newsletter.delivery.names import RunName
from newsletter.delivery.return_paths import TOKEN_PLACE
from newsletter.rendering.letter import message_ids
from newsletter.rendering.model import Tracking, Variant

_UNTRACKED = Tracking()
#: Members of whom recipients are made together.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Addressing:
    """What members of an audience become recipients of `run` with.

    `mailto` is the pattern of the address to which a mail unsubscribes, with `{token}` in it; '' for none. A token that
    says whose click or open it is gets only who `tracking` has one for: of opens, those who consented.
    `return_tokens`: the provider uses them.
    """

    run: RunName
    sender_domain: str
    links: LinkMaker
    variant_of: Callable[[Mapping[str, str]], Variant]
    mailto: str = ""
    tracking: Tracking = _UNTRACKED
    return_tokens: bool = True

    def each(self, members: Iterable[Member]) -> Iterator[Recipient]:
        """Each member as a recipient; of any number of them some hundred are in memory."""
        left = iter(members)
        while some := list(islice(left, _AT_ONCE)):
            yield from self.all(some)

    def all(self, members: Sequence[Member]) -> Recipients:
        """The members as recipients, with the values of their holes."""
        numbers = [member.id for member in members]
        ids = list(map(str, numbers))
        addresses, names = [member.address for member in members], [member.name for member in members]
        unsubscribe_urls = self.links.urls(Purpose.UNSUBSCRIBE, numbers)
        values: dict[str, Sequence[str]] = {
            "name": names,
            "email": addresses,
            "unsubscribe_url": unsubscribe_urls,
            "preferences_url": self.links.urls(Purpose.PREFERENCES, numbers),
            "view_url": [self.links.view_url(self.run.slot)] * len(members),
        }
        tokens = [""] * len(members)
        if self.return_tokens or self.mailto:
            tokens = self.links.return_paths.tokens(self.run, numbers)
        variants: list[Variant] = [()] * len(members)
        if self.variant_of({}) != ():
            variants = [self.variant_of(branching_fields(member)) for member in members]
        return Recipients(
            ids,
            addresses,
            names,
            message_ids(str(self.run), ids, self.sender_domain),
            unsubscribe_urls,
            values | self._tracked(members, numbers),
            variants,
            tokens,
            self._mailtos(tokens),
        )

    def _mailtos(self, tokens: Sequence[str]) -> Sequence[str]:
        if not self.mailto:
            return [""] * len(tokens)
        return [self.mailto.replace(TOKEN_PLACE, token) if token else "" for token in tokens]

    def _tracked(self, members: Sequence[Member], numbers: Sequence[int]) -> dict[str, Sequence[str]]:
        tracking, values = self.tracking, dict[str, Sequence[str]]()
        if tracking.clicks and tracking.per_person:
            values["track_token"] = self.links.tokens(Purpose.TRACK, numbers)
        if tracking.opens:
            slot = self.run.slot
            values["open_image"] = [
                self.links.open_url(member.id, slot) if member.measures_opens else "" for member in members
            ]
        return values


def branching_fields(member: Member) -> Mapping[str, str]:
    """What a template may branch on: the subscriber's attributes, language and time zone."""
    return {**member.attributes, "language": member.language, "timezone": member.timezone}
