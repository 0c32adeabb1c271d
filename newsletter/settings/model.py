"""Every key of config.toml: its type, its default as the user would write it, and what it means.

The models are frozen and know nothing of files; `load` fills them, `rules` holds the keys against each other.
A description here is the text of docs/reference/config.md and of the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import idna
from pydantic import Field, field_validator, model_validator

from newsletter.settings import kinds
from newsletter.settings.addresses import Mailbox, parse_mailbox
from newsletter.settings.kinds import Derived, key, required
from newsletter.settings.moments import WEEKDAYS
from newsletter.settings.provider_model import AnyProvider
from newsletter.settings.secrets import Secret
from newsletter.settings.table import Table

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: What an operator can be told about.
Occasion = Literal["missing_issue", "failed", "paused", "deadline", "summary"]


class Site(Table):
    """The site: what all newsletters here have in common."""

    name: kinds.Line = key("Newsletter", "Name of the site, shown on public pages and in the mail's footer.")
    base_url: kinds.Url = key(
        "http://localhost:8000",
        "Where the public pages are reached; every link in a mail begins with it. https in production.",
    )
    language: kinds.Language = key("en", "Language of the mails and pages, as a BCP 47 tag.")
    postal_address: kinds.Text = key("", "Postal address in the mail's footer; the law asks for one (CAN-SPAM).")
    secret_key: Secret | None = key(
        None,
        "Signs the links in mails; at least 32 characters. Absent, or its variable not set: a key is generated into "
        "`var/secret.key` beside config.toml (0600), on SQLite only.",
    )
    secret_key_fallbacks: tuple[Secret, ...] = key(
        [], "Earlier secret keys: links already mailed must keep working after a change of `secret_key`."
    )


class Paths(Table):
    """Folders, relative to the folder of config.toml."""

    issues: kinds.Folder = key("issues", "Issue files.")
    templates: kinds.Folder = key("templates", "Email and page templates.")
    subscribers: kinds.Folder = key("subscribers", "Lists of subscribers as CSV files.")
    output: kinds.Folder = key("out", "What a dry run writes.")


class Database(Table):
    """Where runs, deliveries and the audience are kept."""

    url: kinds.DatabaseUrl = key(
        "sqlite:///var/newsletter.db",
        "`sqlite:///PATH`, relative to the folder of config.toml, or `postgresql+psycopg://USER@HOST/NAME`.",
        secret=True,
    )


class Schedule(Table):
    """When a newsletter goes out by itself."""

    enabled: kinds.Flag = key(False, "Whether this newsletter goes out by itself.")
    time: kinds.TimeOfDay | None = key("06:30", "Local time of the daily issue. Either this or `cron`.")
    cron: kinds.Cron = key(
        "", "Five fields as in crontab(5), in place of `time`; 0 and 7 are Sunday, names such as mon-fri are clearer."
    )
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = key(
        list(WEEKDAYS), "Days of the week on which it goes out; absent: every day."
    )
    timezone: kinds.Zone = key("UTC", "IANA time zone in which `time`, `cron`, `editions` and `deadline` are read.")
    recipient_timezone: kinds.Flag = key(False, "Send at `time` in each subscriber's own time zone, where it is known.")
    skip_dates: tuple[kinds.Day, ...] = key([], "Dates on which nothing goes out.")
    skip_holidays: kinds.Holidays = key(
        "", "Public holidays on which nothing goes out: a code of the `holidays` package."
    )
    catch_up: kinds.Duration = key(
        "2h", "How late a slot may still be sent after the daemon was down; later it is missed."
    )
    editions: Mapping[kinds.Name, kinds.TimeOfDay] = key({}, "Further issues a day: the edition's name and its time.")
    require_approval: kinds.Flag = key(False, "Send only an issue whose content was approved.")
    deadline: kinds.TimeOfDay = key("12:00", "Local time after which nothing more is sent; the rest expires.")
    warn_before: kinds.Duration = key("1h", "How long before the slot a missing, stale or invalid issue is reported.")

    @model_validator(mode="before")
    @classmethod
    def _cron_stands_for_time(cls, value: object) -> object:
        """With `cron` the default of `time` does not hold."""
        if isinstance(value, dict) and value.get("cron") and "time" not in value:
            return {**value, "time": None}
        return value

    @field_validator("time", mode="wrap")
    @classmethod
    def _time_or_none(cls, value: object, parse: Any) -> object:
        return None if value is None else parse(value)


class Delivery(Table):
    """How a newsletter goes out."""

    provider: kinds.Line = key("disk", "Which provider takes the mail: a key under `[providers]`.")
    batch_size: kinds.Count = key(
        100, "Recipients per call; also the most that one crash can leave unknown per thread."
    )
    window: kinds.Count = key(
        10, "The same for providers that take one message at a time (SMTP); `batch_size` at most."
    )
    concurrency: kinds.Threads = key(4, "Calls or connections at the same time.")
    retry_for: kinds.Duration = key("45m", "How long a recipient is tried again while the provider is busy.")
    on_unknown: Literal["hold", "resend"] = key(
        "hold",
        "What happens to a recipient whose outcome is unknown: `hold` asks an operator, `resend` risks a second copy.",
    )
    engine: Literal["threads", "procrastinate"] = key(
        "threads", "`threads` in one process, or `procrastinate`: many machines, on PostgreSQL."
    )
    require_test: kinds.Flag = key(False, "Send only an issue whose content went out as a test before.")
    pause_on_failure_rate: kinds.Share = key("5%", "Share of refused recipients above which a run pauses.")
    max_audience_change: kinds.Percent = key(
        "20%", "Change of the audience since the last run above which a send is refused."
    )


class Tracking(Table):
    """What is measured; nothing, unless switched on."""

    clicks: kinds.Flag = key(False, "Count clicks, by links through `base_url`.")
    opens: kinds.Flag = key(False, "Count opens, by an image, of those who consented to it (by the preferences page).")
    per_person: kinds.Flag = key(False, "Keep who clicked and opened, not only how often; tell your readers so.")
    utm: Mapping[str, kinds.Text] = key(
        {}, "Parameters added to the links of stories, such as `source` for utm_source."
    )


class Newsletter(Table):
    """A publication with a name, a schedule, an audience and a template."""

    title: kinds.Line = required("Title of the newsletter: the masthead, and the subject of an issue without one.")
    issue_path: kinds.IssuePath = key(
        "{date:%Y-%m-%d}.txt",
        "Where an issue's file stands under `paths.issues`; also with `{edition}`. With .md it is found too.",
    )
    sender: kinds.RequiredMailbox = required("Who the mail is from, an RFC 5322 mailbox.", alias="from")
    reply_to: kinds.OptionalMailbox = key("", 'Where answers go; `""`: to the From address.')
    unsubscribe_mailto: kinds.UnsubscribeMailto = key(
        "",
        "An address to which a mail unsubscribes, too, for List-Unsubscribe: a pattern with `{token}`, whose mail "
        "comes into `bounces.mailbox`.",
    )
    list_id: Annotated[kinds.ListId, Derived("NAME and the domain of `from`")] = key(
        "", "List-Id (RFC 2919), without `<>`. Absent: the newsletter's name and the domain of its From address."
    )
    lists: Annotated[tuple[kinds.Line, ...], Field(min_length=1), Derived("[NAME]")] = key(
        [], "Lists whose subscribers get it. Absent: the list of the newsletter's own name."
    )
    language: Annotated[kinds.OptionalLanguage, Derived("`site.language`")] = key(
        "", "Language of its mails and pages, as a BCP 47 tag. Absent: the site's."
    )
    public: kinds.Flag = key(
        True, "Whether anybody may subscribe on the web; else it shows on no public page, and nor do its issues."
    )
    template: kinds.FolderName = key(
        "digest", "Folder of the template, under `paths.templates` or among those that ship."
    )
    sections: tuple[kinds.Line, ...] = key(
        [],
        "Names of sections: a line that equals one, but for case and trailing dots, is always a section.",
    )
    schedule: Schedule = key({}, "When it goes out by itself.")
    delivery: Delivery = key({}, "How it goes out.")
    tracking: Tracking = key({}, "What is measured.")


class SignUps(Table):
    """Subscribing on the web."""

    enabled: kinds.Flag = key(
        True, "Whether people may subscribe on the web; confirmations of earlier requests work on."
    )
    per_ip: kinds.PerHour = key("20/h", "Requests from one IP address (of IPv6: one /64).")
    per_domain: kinds.PerHour = key("500/h", "Requests for addresses of one domain.")
    in_total: kinds.PerHour = key("5000/h", "All requests.")
    expires: kinds.PositiveDuration = key("7d", "How long the link of a confirmation mail works.")
    again_after: kinds.PositiveDuration = key("24h", "An address gets one confirmation mail in this time.")
    allowed_origins: tuple[kinds.Url, ...] = key(
        [], "Sites of yours whose own forms may subscribe people here; this site always may."
    )
    proof_of_work: kinds.Flag = key(
        False,
        "Ask browsers for a proof of work (ALTCHA) before a request counts; needs JavaScript and the `altcha` extra.",
    )


class Web(Table):
    """The public pages, unsubscribe and webhooks."""

    host: kinds.Line = key("127.0.0.1", "Address to listen on.")
    port: kinds.ListenPort = key(8000, "Port to listen on; 0: any free one.")
    archive: kinds.Flag = key(True, "Show past issues publicly.")
    trusted_proxies: tuple[kinds.Network, ...] = key([], "Proxies whose X-Forwarded-For is believed.")
    signup: SignUps = key({}, "Subscribing on the web.")


class Bounces(Table):
    """Mail that comes back: bounces and complaints."""

    mailbox: kinds.OptionalMailboxUrl = key(
        "", "Where it arrives: `maildir:PATH`, `mbox:PATH` or `imaps://USER@HOST/FOLDER`."
    )
    password: Secret | None = key(None, "Password of the IMAP user.")
    soft_limit: kinds.Count = key(5, "Soft bounces within `soft_within` that count as a hard one.")
    soft_within: kinds.PositiveDuration = key("14d", "How long a soft bounce counts.")


class Retention(Table):
    """How long records are kept."""

    events: kinds.DaysOrMore = key("180d", "Events: opens, clicks, deliveries, bounces.")
    attempts: kinds.DaysOrMore = key(
        "180d", "Of runs that are over, the calls to the provider, and its words on single recipients."
    )
    runs: kinds.DaysOrMore = key(
        "730d", "Of runs that are over, who got them. Their sums stay, and that they went out."
    )


class Notifications(Table):
    """How operators learn that something happened."""

    urls: tuple[kinds.Line, ...] = key(
        [], "Whom to notify: https:// URLs, which get JSON by POST, and Apprise URLs.", secret=True
    )
    on: tuple[Occasion, ...] = key(["missing_issue", "failed", "paused", "deadline", "summary"], "What to notify of.")
    heartbeat_url: kinds.OptionalUrl = key(
        "", "For a dead man's switch: requested after each good run, and with /start and /fail.", secret=True
    )


class Settings(Table):
    """All of config.toml."""

    config_version: Literal[1] = key(1, "Version of this file's format.")
    site: Site = key({}, "What all newsletters here have in common.")
    paths: Paths = key({}, "Folders, relative to the folder of config.toml.")
    database: Database = key({}, "Where runs, deliveries and the audience are kept.")
    newsletters: Annotated[Mapping[kinds.Name, Newsletter], Field(min_length=1)] = required("The newsletters, by name.")
    providers: Mapping[kinds.Line, AnyProvider] = key({}, "The mail providers, by name. `disk` is always there.")
    web: Web = key({}, "The public pages, unsubscribe and webhooks.")
    bounces: Bounces = key({}, "Mail that comes back: bounces and complaints.")
    retention: Retention = key({}, "How long records are kept.")
    notifications: Notifications = key({}, "How operators learn that something happened.")

    @field_validator("newsletters", mode="before")
    @classmethod
    def _derive_from_the_name(cls, value: object) -> object:
        """A newsletter's list and List-Id follow from its name, where they are not given."""
        if not isinstance(value, dict):
            return value
        return {name: _with_derived(name, table) if isinstance(table, dict) else table for name, table in value.items()}

    @field_validator("providers", mode="before")
    @classmethod
    def _disk_is_always_there(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        given = value.get("disk", {})
        return {**value, "disk": {"kind": "disk", **given} if isinstance(given, dict) else given}


def _with_derived(name: str, table: Mapping[str, object]) -> dict[str, object]:
    derived: dict[str, object] = {"lists": [name], **table}
    if not table.get("list_id"):
        try:
            derived["list_id"] = f"{name}.{_ascii_domain(parse_mailbox(table.get('from')))}"
        except ValueError:
            derived["list_id"] = ""  # `from` is reported by itself
    return derived


def _ascii_domain(mailbox: Mailbox) -> str:
    """As A-labels (RFC 5891, with the mapping of UTS 46), the same as in the mail's headers. Raises ValueError."""
    domain = mailbox.domain
    return domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
