"""What the API answers. Further fields may come with later versions; none of these goes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-07T06:30:00+00:00"])]
Day = Annotated[str, Field(json_schema_extra={"format": "date"}, examples=["2026-01-07"])]
Count = Annotated[int, Field(ge=0)]
State = Literal["pending", "subscribed", "unsubscribed"]
DeliveryStateName = Literal[
    "planned",
    "in_flight",
    "accepted",
    "rejected",
    "retry_wait",
    "unknown",
    "suppressed",
    "expired",
    "cancelled",
    "abandoned",
]
RunStateName = Literal["planned", "sending", "paused", "held", "finished", "cancelled", "expired"]
Next = Annotated[
    str | None, Field(description="Give it as `after` for what follows; null at the end. A part may be short before.")
]


class Document(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(extra="allow", frozen=True)


class FieldProblem(Document):
    """What is wrong with one field."""

    at: str
    said: str


class ProblemDocument(Document):
    """What went wrong (RFC 9457)."""

    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    code: Annotated[str | None, Field(description="The same for the same reason; for programs.")] = None
    detail: str | None = None
    hint: Annotated[str | None, Field(description="What to do about it, often as a command.")] = None
    problems: list[FieldProblem] | None = None


class Lift(Document):
    """What ended a suppression; with a `list`, for that list alone."""

    at: Moment
    by: Literal["confirmation", "operator"]
    note: str
    list: str | None = None


_Lifts = list[Lift]


class Suppression(Document):
    """Why an address must not be mailed. `list` is null where it holds for all. `key` is the address in lower case; of
    an erased person it is `hmac:` and a hash."""

    key: str
    reason: Literal["unsubscribe", "hard_bounce", "complaint", "manual", "erased"]
    list: str | None
    at: Moment
    source: str
    note: str
    lift: Lift | None
    lifted_for: _Lifts


class Consent(Document):
    """That somebody asked for a list."""

    list: str
    at: Moment
    source: str
    wording: str
    ip: str
    recorded_at: Moment | None


class Membership(Document):
    """Somebody's state on one list."""

    list: str
    state: State
    since: Moment


class Delivery(Document):
    """One person's delivery in one run. `marks`: what the provider reported later."""

    run: str
    email: str
    state: DeliveryStateName
    marks: list[Literal["delivered", "bounced", "complained"]]
    attempts: Count
    code: str
    reason: str
    at: Moment | None


class OpensConsent(Document):
    """That somebody consented to opens being measured, or took it back."""

    given: bool
    at: Moment
    wording: str
    ip: str


class Subscriber(Document):
    """Everything held about somebody. `state` is over all lists; only suppressions may be left of them."""

    email: str
    state: State
    lists: list[str]
    name: str
    language: str
    timezone: str
    tags: list[str]
    attributes: dict[str, str]
    created_at: Moment | None
    paused_until: Moment | None
    measures_opens: bool
    memberships: list[Membership]
    suppressions: list[Suppression]
    consents: list[Consent]
    opens_consents: list[OpensConsent]


class SignUp(Document):
    """A request on the web or over the API that they were asked to confirm."""

    newsletter: str
    list: str
    email: str
    name: str
    language: str
    timezone: str
    source: str
    wording: str
    ip: str
    asked_at: Moment
    expires_at: Moment
    mailed_at: Moment | None
    confirmed_at: Moment | None


class Event(Document):
    """What was told of a mail to them."""

    kind: str
    at: Moment
    source: str
    run: str | None
    code: str
    reason: str
    reference: str


class Hit(Document):
    """A click (`link`: its number) or an open, where that is kept per person."""

    run: str
    kind: Literal["click", "open"]
    link: Count
    verdict: Literal["human", "machine", "unknown"]
    at: Moment


class WholeSubscriber(Subscriber):
    """With what became of each mail to them, the latest first, and what other records say of them."""

    deliveries: list[Delivery]
    sign_ups: list[SignUp]
    events: list[Event]
    clicks_and_opens: list[Hit]


class SubscriberPart(Document):
    """Some subscribers, by address."""

    items: list[Subscriber]
    next: Next


class SuppressionPart(Document):
    """Some suppressions, the oldest first."""

    items: list[Suppression]
    next: Next


class DeliveryPart(Document):
    """Some deliveries of a run."""

    items: list[Delivery]
    next: Next


class Added(Document):
    """What adding somebody came to. `confirmation`: `due` where a mail will ask them, `again` where one did not long
    ago, null where they were not asked."""

    email: str
    list: str
    state: State
    new: bool
    confirmation: Literal["due", "again"] | None


class Left(Document):
    """Somebody left a list (null: all). `changed`: they had not left it before."""

    email: str
    list: str | None
    state: Literal["unsubscribed"]
    changed: bool


class Erased(Document):
    """Somebody was removed, and a keyed hash keeps them from being added again. `known`: there was something to remove.
    `clean` is false where the database's file may hold old copies yet: erase again later. `files` still name them, as
    `file:line`; `unsearched` could not be read."""

    email: str
    known: bool
    clean: bool
    files: list[str]
    unsearched: list[str]


class Suppressed(Document):
    """An address is suppressed (`list` null: for all lists). `new`: an equal suppression did not stand before."""

    email: str
    reason: str
    list: str | None
    new: bool


class RunCounts(Document):
    """A run in numbers. `accepted` counts everyone the provider took, whatever came later; `remaining` is how many are
    not decided yet."""

    run: str
    newsletter: str
    issue_date: Day
    edition: str
    state: RunStateName
    content_hash: str
    planned: Count
    in_flight: Count
    accepted: Count
    rejected: Count
    retry_wait: Count
    unknown: Count
    suppressed: Count
    expired: Count
    cancelled: Count
    abandoned: Count
    remaining: Count
    delivered: Count
    bounced: Count
    complained: Count


class Reason(Document):
    """How often the provider said it."""

    state: DeliveryStateName
    reason: str
    count: Count


class RunWorker(Document):
    """A process that sends, or sent, a part of a run: whether it lives, its attempts, and what it has in hand."""

    name: str
    living: bool
    attempts: Count
    batches: Count
    in_flight: Count


class Run(RunCounts):
    """How a run stands. `reason` says why it is paused, `sender` who has it in hand ('': nobody), `excluded` how many
    were left out for which reason; `any_worker`, of a run that workers send, whether any of them is alive; `next_try`
    when the first of those are due who wait for another try, while it is being sent."""

    subject: str
    provider: str
    reason: str
    sender: str
    any_worker: bool | None
    workers: list[RunWorker]
    planned_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    deadline: Moment
    next_try: Moment | None
    excluded: dict[str, Count]
    reasons: list[Reason]


class RunPart(Document):
    """Some runs, the latest first."""

    items: list[RunCounts]
    next: Next


class Story(Document):
    """A story of an issue."""

    headline: str
    paragraphs: list[str]
    link: str | None


class Section(Document):
    """A section of an issue."""

    title: str
    stories: list[Story]


class Issue(Document):
    """An issue as it was understood."""

    title: str
    date: Day
    edition: str
    subject: str
    preheader: str
    note: list[str]
    sections: list[Section]


class Finding(Document):
    """What a check found; `line` of the issue's file."""

    id: str
    level: Literal["info", "warn", "error"]
    line: int | None
    message: str
    hint: str


class CheckedIssue(Document):
    """An issue, and what its checks found: an error keeps it from being sent."""

    issue: Issue
    findings: list[Finding]


class IssueFile(Document):
    """The file of an issue."""

    slot: str
    date: Day
    edition: str
    file: str


class IssuePart(Document):
    """Some issues, the latest first."""

    items: list[IssueFile]
    next: Next


class Approved(Document):
    """This content may go out."""

    run: str
    content_hash: str
    by: str


class Newsletter(Document):
    """A newsletter of the settings."""

    name: str
    title: str
    language: str
    lists: list[str]
    sender: Annotated[str, Field(alias="from", examples=["Daily Buzz <buzz@news.example.com>"])]
    provider: str
    public: bool
    scheduled: Annotated[bool, Field(description="Whether it goes out by itself.")]
    timezone: str
    require_approval: bool
    require_test: bool


class NewsletterPart(Document):
    """All of them."""

    items: list[Newsletter]
    next: Annotated[None, Field(description="null: there are no more.")] = None
