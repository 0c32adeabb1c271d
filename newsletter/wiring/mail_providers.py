"""Makes the mail providers of the settings, with their secrets, and what paces them."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from typing import TYPE_CHECKING

from newsletter.delivery.clock import SystemClock
from newsletter.delivery.pacing import Limiter
from newsletter.delivery.provider import MailProvider
from newsletter.errors import ConfigError, GuardRefused, Place, Problem, UsageError
from newsletter.logs import never, without_secrets
from newsletter.settings.installed_providers import installed_kinds
from newsletter.settings.loaded import Loaded
from newsletter.settings.provider_model import (
    DiskProvider,
    OutsideProvider,
    SendgridProvider,
    SmtpProvider,
)
from newsletter.settings.secrets import Secret
from newsletter.settings.suggest import did_you_mean
from newsletter.wiring.outside_provider import OutsideProvider as AroundOutside

if TYPE_CHECKING:
    from newsletter.providers.dkim import DkimSigner


def mail_provider(loaded: Loaded, name: str) -> MailProvider:
    """The provider called `name` in the settings, with its secrets; nothing is connected yet.

    Raises GuardRefused for the disk, which sends nothing; ConfigError where a secret is missing or a value does not do;
    UsageError where there is no such provider.
    """
    settings = loaded.settings.providers.get(name)
    try:
        match settings:
            case SmtpProvider():
                return _smtp(loaded, name, settings)
            case SendgridProvider():
                return _sendgrid(loaded, name, settings)
            case OutsideProvider():
                return _outside(loaded, name, settings)
            case DiskProvider():
                raise GuardRefused(
                    f"the provider `{name}` writes to disk and sends nothing",
                    hint="To look at the mail: newsletter send --dry-run. To send it: name an SMTP server or a service "
                    "under [providers], and that name in delivery.provider of the newsletter.",
                )
            case _:
                there = loaded.settings.providers
                raise UsageError(
                    f"there is no provider `{name}`; there is {', '.join(there)}", hint=did_you_mean(name, there)
                )
    except ValueError as error:  # of an adapter; it repeats no secret
        raise _wrong(loaded, name, str(error)) from None


def provider_mark(loaded: Loaded, name: str) -> str:
    """The same as long as `mail_provider` would make the same: a hash of its settings and secrets, '' for no provider.
    Raises ConfigError where a secret is missing."""
    settings = loaded.settings.providers.get(name)
    if settings is None:
        return ""
    told = [repr(settings)]
    if isinstance(settings, SmtpProvider):
        told += [_secret(loaded, settings.password)] if settings.username else []
        told += [_secret(loaded, settings.dkim.private_key)] if settings.dkim else []
    elif isinstance(settings, SendgridProvider):
        told.append(_secret(loaded, settings.api_key))
    elif isinstance(settings, OutsideProvider):
        told += [_secret(loaded, value) for value in settings.options.values() if isinstance(value, Secret)]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()


def limiter(loaded: Loaded, name: str) -> Limiter:
    """What paces the calls to a provider account: one for all that send through it in this process."""
    return _limiter(str(loaded.folder), name, *rates(loaded, name))


def rates(loaded: Loaded, name: str) -> tuple[float | None, tuple[tuple[str, float], ...]]:
    """Messages a second to the account (None: no limit), and to each recipient domain that has a limit."""
    settings = loaded.settings.providers[name]
    rate = settings.rate.per_second if settings.rate else None
    return rate, tuple((domain, one.per_second) for domain, one in settings.per_domain.items())


@cache
def _limiter(_folder: str, _name: str, rate: float | None, domains: tuple[tuple[str, float], ...]) -> Limiter:
    return Limiter(rate, dict(domains), SystemClock())


def _smtp(loaded: Loaded, name: str, settings: SmtpProvider) -> MailProvider:
    # imported here, as below: each provider brings libraries that the others do not need
    from newsletter.providers.smtp import SmtpProvider as Smtp
    from newsletter.providers.smtp_handshake import SmtpServer

    server = SmtpServer(
        host=settings.host,
        port=settings.port,
        security=settings.security,
        username=settings.username,
        password=_secret(loaded, settings.password) if settings.username else "",
        timeout=settings.timeout.total_seconds(),
        final_timeout=settings.final_timeout.total_seconds(),
    )
    return Smtp(name, server, envelope_from=settings.envelope_from, signer=_signer(loaded, settings))


def _signer(loaded: Loaded, settings: SmtpProvider) -> DkimSigner | None:
    from newsletter.providers.dkim import DkimSigner  # see _smtp

    dkim = settings.dkim
    if dkim is None:
        return None
    return DkimSigner(_secret(loaded, dkim.private_key), selector=dkim.selector, domain=dkim.domain)


def _sendgrid(loaded: Loaded, name: str, settings: SendgridProvider) -> MailProvider:
    from newsletter.providers.sendgrid import SendgridProvider as Sendgrid  # see _smtp

    return Sendgrid(
        name,
        _secret(loaded, settings.api_key),
        host=settings.host,
        timeout=settings.timeout.total_seconds(),
        sandbox=settings.sandbox,
    )


def _outside(loaded: Loaded, name: str, settings: OutsideProvider) -> MailProvider:
    """A provider of another package, called with its name and its options, secrets among them as they are."""
    found = installed_kinds()[settings.kind]
    options = {
        option: _secret(loaded, value) if isinstance(value, Secret) else value
        for option, value in settings.options.items()
    }
    try:
        made = found.load()(name, options)
    except Exception as error:  # noqa: BLE001 - it is another's code
        # without the error's own chain: its frames may hold a secret
        problem = f"the package that brings `{settings.kind}` failed: {type(error).__name__}: {error}"
        raise _wrong(loaded, name, without_secrets(problem)) from None
    try:
        return AroundOutside(name, made)
    except ValueError as error:
        raise _wrong(loaded, name, f"`{settings.kind}` ({found.value}) {error}") from None


def _secret(loaded: Loaded, secret: Secret) -> str:
    return never(secret.resolve(os.environ, loaded.folder))


def _wrong(loaded: Loaded, name: str, message: str) -> ConfigError:
    key = f"providers.{name}"
    path, _, line = loaded.origins.get(f"{key}.kind", "").rpartition(":")
    place = Place(loaded.path, int(line)) if path and line.isdigit() else Place(loaded.path)
    return ConfigError([Problem(key, f"{key}: {message}", place)])
