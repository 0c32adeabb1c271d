"""Who the mail says it is from, and who hands it over."""

from __future__ import annotations

from dataclasses import dataclass, field

from newsletter.rendering.escaping import ascii_domain
from newsletter.settings.loaded import Loaded
from newsletter.settings.provider_model import Provider, SmtpProvider


@dataclass(slots=True)
class Sender:
    """A From domain (in ASCII) and a provider that takes mail from it, with the newsletters that do so."""

    domain: str
    provider_name: str
    provider: Provider
    newsletters: list[str] = field(default_factory=list)

    @property
    def envelope_domain(self) -> str:
        """The domain that SPF is asked about; '' where the provider uses one of its own."""
        if not isinstance(self.provider, SmtpProvider):
            return ""
        return _in_dns(self.provider.envelope_from.rpartition("@")[2]) or self.domain


def senders(loaded: Loaded) -> list[Sender]:
    """Each From domain with each provider, in the order of the settings."""
    found: dict[tuple[str, str], Sender] = {}
    settings = loaded.settings
    for name, newsletter in settings.newsletters.items():
        domain, provider = _in_dns(newsletter.sender.domain), newsletter.delivery.provider
        sender = found.setdefault((domain, provider), Sender(domain, provider, settings.providers[provider]))
        sender.newsletters.append(name)
    return list(found.values())


def _in_dns(domain: str) -> str:
    """As the DNS has it, and as the mail's own headers do."""
    try:
        return ascii_domain(domain).lower()
    except ValueError:
        return domain.lower()
