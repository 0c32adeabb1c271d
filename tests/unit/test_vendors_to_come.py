"""What `MailProvider` and `Limits` must carry for vendors that have no adapter yet: sketches of four, by their pages.

Each is an adapter as another package would bring it, over a vendor that lives in memory and writes down whom it mailed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from send_simulation import TERMS, Simulation

from newsletter.delivery.model import Accepted, Batch, Busy, Limits, Outcome, Receipt, Refused
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.delivery.send import SendResult
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.rendering.model import RenderedIssue, Variant
from newsletter.wiring.outside_provider import OutsideProvider

ACCEPTED, REJECTED = DeliveryState.ACCEPTED, DeliveryState.REJECTED
#: What a vendor says of each item of a call.
Items = Mapping[str, Outcome]


@dataclass
class Vendor:
    """An adapter and its vendor: `call` is the HTTP call, with the idempotency key and the recipients' ids."""

    limits: Limits
    call: Callable[[str, list[str]], Items]
    name: str = "vendor"
    calls: list[tuple[str, int]] = field(default_factory=list)

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        assert rendered
        ids = [one.id for one in batch.recipients]
        self.calls.append((batch.call_id, len(ids)))
        return Receipt(self.call(batch.call_id, ids))

    def check(self) -> str:
        return "here"

    def close(self) -> None:
        """Nothing is open."""

    def send(self, count: int) -> SendResult:
        terms = replace(TERMS, batch_size=1_000, failure_rate=1.0)
        return Simulation(count, terms).send(OutsideProvider("vendor", self))

    @property
    def sizes(self) -> list[int]:
        return [size for _, size in self.calls]


def test_postmark_answers_200_and_says_of_each_item_what_became_of_it() -> None:
    """500 messages a call and 50 MB: a call that is too large is asked for in halves."""

    def call(_key: str, ids: list[str]) -> Items:
        if len(ids) > 300:
            raise CallRefused(Blame.RECIPIENTS, "over 50 MB", "413")
        return {one: Refused("inactive recipient", "406") if int(one) % 100 == 0 else Accepted(one) for one in ids}

    postmark = Vendor(Limits(500, bytes_per_call=50_000_000), call)
    result = postmark.send(1_000)
    assert result.balance.counts == {ACCEPTED: 990, REJECTED: 10}
    assert result.run.state is RunState.FINISHED
    assert max(postmark.sizes) == 500
    assert sum(size for size in postmark.sizes if size <= 300) == 1_000


def test_resend_carries_a_call_out_once_for_each_key_so_that_a_lost_answer_is_asked_for_again() -> None:
    mailed: Counter[str] = Counter()
    answers: dict[str, Items] = {}
    tries: Counter[str] = Counter()

    def call(key: str, ids: list[str]) -> Items:
        tries[key] += 1
        if len(tries) == 2 and len(answers) == 1 and tries[key] == 1:
            return dict.fromkeys(ids, Busy("429 rate limit", 1.0))  # nothing is kept under this key
        if key not in answers:
            mailed.update(ids)
            answers[key] = {one: Accepted(f"{key}/{one}") for one in ids}
        if tries[key] == 1:
            raise ConnectionResetError("the answer is lost, each time")
        assert answers[key].keys() == set(ids), "a key that was another call's"
        return answers[key]

    resend = Vendor(Limits(100, idempotency_key=True), call)
    result = resend.send(450)
    assert result.balance.counts == {ACCEPTED: 450}
    assert set(mailed.values()) == {1}
    assert len(mailed) == 450
    assert max(resend.sizes) == 100
    assert len(tries) == 6  # five calls, and the one that was put off, whose later call is another attempt


def test_ses_puts_some_of_50_off_and_they_alone_come_again() -> None:
    mailed: Counter[str] = Counter()
    seen: set[str] = set()

    def call(_key: str, ids: list[str]) -> Items:
        found: dict[str, Outcome] = {}
        for one in ids:
            put_off = int(one) % 7 == 0 and one not in seen
            seen.add(one)
            found[one] = Busy("ACCOUNT_THROTTLED") if put_off else Accepted(f"id-{one}")
            mailed.update(() if put_off else (one,))
        return found

    ses = Vendor(Limits(50), call)
    assert ses.send(210).balance.counts == {ACCEPTED: 210}
    assert set(mailed.values()) == {1}
    assert max(ses.sizes) == 50


def test_mailgun_refuses_a_whole_call_for_one_and_the_others_get_theirs() -> None:
    mailed: Counter[str] = Counter()

    def call(_key: str, ids: list[str]) -> Items:
        if "77" in ids:
            raise CallRefused(Blame.RECIPIENTS, "'to' parameter is not a valid address", "400")
        mailed.update(ids)
        return dict.fromkeys(ids, Accepted("<one@mailgun>"))

    mailgun = Vendor(Limits(1_000, per_recipient_status=False), call)
    assert mailgun.send(1_500).balance.counts == {ACCEPTED: 1_499, REJECTED: 1}
    assert set(mailed.values()) == {1}
    assert len(mailed) == 1_499
    assert mailgun.sizes[0] == 1_000
