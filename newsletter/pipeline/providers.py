"""The providers of the settings: which there are, and whether one takes us in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass

from newsletter.delivery.provider import CallRefused, MailProvider
from newsletter.errors import GuardRefused, TemporaryError
from newsletter.settings.loaded import Loaded
from newsletter.settings.pick import pick_newsletter
from newsletter.settings.provider_model import Provider, SendgridProvider, SmtpProvider


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One provider; `where` is its server, '' where that is not known here."""

    name: str
    kind: str
    where: str
    rate: str
    newsletters: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """For programs."""
        return {**asdict(self), "newsletters": list(self.newsletters)}


def provider_rows(loaded: Loaded) -> list[ProviderRow]:
    """The providers in the order of the settings. Secrets are not looked at."""
    settings = loaded.settings
    users: dict[str, list[str]] = {}
    for newsletter, one in settings.newsletters.items():
        users.setdefault(one.delivery.provider, []).append(newsletter)
    return [
        ProviderRow(name, one.kind, _where(one), str(one.rate or ""), tuple(users.get(name, ())))
        for name, one in settings.providers.items()
    ]


def _where(provider: Provider) -> str:
    if isinstance(provider, SmtpProvider):
        return f"{provider.host}:{provider.port} ({provider.security})"
    if isinstance(provider, SendgridProvider):
        return provider.host + (" (sandbox)" if provider.sandbox else "")
    return ""


def provider_name(loaded: Loaded, newsletter: str | None, name: str | None) -> str:
    """The provider that a user named, else that of the newsletter. Raises UsageError."""
    return name if name is not None else pick_newsletter(loaded.settings, newsletter)[1].delivery.provider


def tried(name: str, make: Callable[[], MailProvider]) -> str:
    """What a provider says of itself after connecting and logging in.

    Raises GuardRefused where it refuses us, TemporaryError where it cannot be reached, and what `make` raises.
    """
    with closing(make()) as provider:
        try:
            return provider.check()
        except CallRefused as refused:
            raise GuardRefused(f"{name} refuses us: {refused}", hint="Look at [providers] in the settings.") from None
        except OSError as error:
            said = error.strerror or str(error)
            raise TemporaryError(
                f"{name} cannot be reached: {said}", hint="Is the server up, and the host right?"
            ) from None
