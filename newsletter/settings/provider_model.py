"""The keys of `[providers.NAME]`, one model for each kind of provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, WithJsonSchema, field_validator

from newsletter.settings import kinds
from newsletter.settings.installed_providers import installed_kinds
from newsletter.settings.kinds import key, required
from newsletter.settings.secrets import Secret
from newsletter.settings.table import Table


class Provider(Table):
    """What every provider takes."""

    kind: str = required("Which adapter this is.")
    rate: kinds.OptionalRate = key("", 'Messages per second, minute or hour, all threads together; `""`: no limit.')
    per_domain: Mapping[kinds.Domain, kinds.DomainRate] = key({}, "Limits per recipient domain.")


class DiskProvider(Provider):
    """Writes the mail to `paths.output`."""

    kind: Literal["disk"] = required("Which adapter this is.")


class Dkim(Table):
    """A DKIM signature (RFC 6376)."""

    selector: kinds.Line = required("Selector: the key's name in the DNS.")
    domain: kinds.Domain = required("Signing domain.")
    private_key: Secret = required("Where the private key (PEM) stands.", alias="key")


class SmtpProvider(Provider):
    """Hands the mail to an SMTP server."""

    kind: Literal["smtp"] = required("Which adapter this is.")
    host: kinds.Line = key("localhost", "The server's name.")
    port: kinds.Port = key(1025, "Its port: 587 with STARTTLS and 465 with TLS are usual, 25 between servers.")
    security: Literal["none", "starttls", "tls"] = key("none", "`starttls` and `tls` verify the server's certificate.")
    username: kinds.Text = key("", 'User name; `""`: no login.')
    password: Secret = key({"env": "SMTP_PASSWORD"}, "Where the password stands; read only with a `username`.")
    timeout: kinds.PositiveDuration = key("60s", "How long to wait for an answer.")
    final_timeout: kinds.PositiveDuration = key(
        "600s", "How long to wait for the answer after the final dot (RFC 5321)."
    )
    envelope_from: kinds.EnvelopeFrom = key(
        "",
        "Envelope sender, a VERP pattern for bounces: `{token}` tells which delivery came back. "
        '`""`: the From address.',
    )
    dkim: Dkim | None = key(
        {}, "Sign with DKIM: `selector`, `domain` and `key`, a secret's reference. Empty: do not sign."
    )

    @field_validator("dkim", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == {} else value


class SendgridProvider(Provider):
    """Hands the mail to SendGrid's v3 API."""

    kind: Literal["sendgrid"] = required("Which adapter this is.")
    api_key: Secret = key({"env": "SENDGRID_API_KEY"}, "Where the API key stands.")
    webhook_public_key: Secret = key(
        {"env": "SENDGRID_WEBHOOK_KEY"}, "Where the public key of the signed event webhook stands."
    )
    host: kinds.Url = key("https://api.sendgrid.com", "The API; https://api.eu.sendgrid.com for EU accounts.")
    sandbox: kinds.Flag = key(False, "SendGrid checks the requests and sends nothing.")
    timeout: kinds.PositiveDuration = key("60s", "The one hard timeout of a call.")


ProviderKind = Literal["disk", "smtp", "sendgrid"]
PROVIDER_KINDS: Mapping[str, type[Provider]] = {
    "disk": DiskProvider,
    "smtp": SmtpProvider,
    "sendgrid": SendgridProvider,
}
#: The tag of a provider that another package brings.
OUTSIDE = "outside"


class OutsideProvider(Provider):
    """Hands the mail to a service that another installed package knows (docs/reference/providers.md)."""

    kind: Annotated[str, WithJsonSchema({"type": "string", "not": {"enum": list(PROVIDER_KINDS)}})] = required(
        "Which adapter this is: the name of its entry point."
    )
    options: kinds.Options = key(
        {}, "What the adapter wants to know; a secret stands there as its reference.", secret=True
    )


def _tag(table: Any) -> str | None:
    """Which model a table is for, by its `kind`."""
    kind = table.get("kind") if isinstance(table, Mapping) else getattr(table, "kind", None)
    if not isinstance(kind, str) or kind in PROVIDER_KINDS:
        return kind if isinstance(kind, str) else None
    return OUTSIDE if kind in installed_kinds() else kind


AnyProvider = Annotated[
    Annotated[DiskProvider, Tag("disk")]
    | Annotated[SmtpProvider, Tag("smtp")]
    | Annotated[SendgridProvider, Tag("sendgrid")]
    | Annotated[OutsideProvider, Tag(OUTSIDE)],
    Discriminator(_tag),
]


def model_of(kind: str) -> type[Provider]:
    """The model of a provider's table."""
    return PROVIDER_KINDS.get(kind, OutsideProvider)
