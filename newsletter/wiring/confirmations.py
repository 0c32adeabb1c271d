"""What sends confirmation mails, with the parts that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from newsletter.audience.signups import SignUpStore
from newsletter.delivery.guards import refuse_insecure_links
from newsletter.delivery.provider import MailProvider
from newsletter.pipeline.confirmation_mail import ConfirmationMails
from newsletter.pipeline.send_confirmations import ConfirmationSender
from newsletter.settings.loaded import Loaded
from newsletter.settings.provider_model import DiskProvider
from newsletter.wiring.mail_providers import mail_provider
from newsletter.wiring.pacing import pacing
from newsletter.wiring.parts import database, template_roots

if TYPE_CHECKING:
    from pathlib import Path

#: Below `paths.output`: what the provider `disk` makes of the mails.
FOLDER = "confirmations"


def confirmation_sender(loaded: Loaded, signups: SignUpStore, keys: Sequence[str]) -> ConfirmationSender:
    """Sends the confirmation mails of these settings; `keys` sign their links. To be closed."""
    return ConfirmationSender(
        signups,
        ConfirmationMails(loaded, template_roots(loaded), keys),
        provider_of=partial(confirmation_provider, loaded),
        limiter_of=partial(pacing, loaded),
    )


def confirmation_provider(loaded: Loaded, name: str) -> MailProvider:
    """The provider called `name`; a folder of files where that is a disk.

    Raises what `mail_provider` raises, and GuardRefused where the links would lead over plain http.
    """
    if isinstance(loaded.settings.providers.get(name), DiskProvider):
        from newsletter.providers.eml_folder import EmlFolder  # see wiring.mail_providers

        return EmlFolder(name, confirmations_folder(loaded))
    refuse_insecure_links(loaded.settings.site.base_url)
    return mail_provider(loaded, name)


def signup_store(loaded: Loaded) -> SignUpStore:
    """The requests, on a database that is up to date (see `wiring.parts.audience_store`)."""
    from newsletter.store.erasure_key import erasure_key  # see wiring.parts.database
    from newsletter.store.signups import SqlSignUps

    engine = database(loaded)
    return SqlSignUps(engine, erasure_key(engine))


def writes_to_disk(loaded: Loaded) -> bool:
    """Whether a newsletter's provider is a disk, so that its mails wait in the folder."""
    settings = loaded.settings
    used = {one.delivery.provider for one in settings.newsletters.values()}
    return any(isinstance(settings.providers[name], DiskProvider) for name in used)


def confirmations_folder(loaded: Loaded) -> Path:
    """Where the mails are written by a provider that is a disk."""
    return loaded.resolve(loaded.settings.paths.output) / FOLDER
