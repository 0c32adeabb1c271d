"""The mailbox for bounces, with what settles them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from newsletter.errors import ConfigError, Place, Problem, UsageError
from newsletter.events.mailboxes import Mailbox, WrongMailbox, open_mailbox
from newsletter.logs import never
from newsletter.pipeline.take_events import EventTools
from newsletter.pipeline.whose_mail import Owners
from newsletter.settings.addresses import check_optional_mailbox_url
from newsletter.settings.loaded import Loaded
from newsletter.wiring.events import event_taking
from newsletter.wiring.parts import signing_keys

_EXAMPLES = 'Write mailbox = "maildir:PATH", "mbox:PATH" or "imaps://USER@HOST/FOLDER" under [bounces].'


@dataclass(frozen=True, slots=True)
class BounceTools:
    """What `poll_bounces` takes; `url` is the mailbox's. `box` is to be closed."""

    url: str
    box: Mailbox
    owners: Owners
    tools: EventTools


def bounce_tools(loaded: Loaded, url: str | None, say: Callable[[str], None]) -> BounceTools:
    """The tools by the settings, for the mailbox at `url` if one is given.

    Raises UsageError where `url` is none, ConfigError where the mailbox of the settings cannot be, and what
    `open_mailbox` and `event_taking` raise.
    """
    wanted = loaded.settings.bounces.mailbox if url is None else _checked(url)
    if not wanted:
        raise _wrong(loaded, "no mailbox for bounces is set", _EXAMPLES)
    tools = event_taking(loaded, say)
    owners = Owners(
        loaded.settings.newsletters, loaded.settings.site.base_url, signing_keys(loaded), tools.ledger
    )  # fmt: skip
    try:
        box = open_mailbox(wanted, loaded.folder, _password(loaded, wanted))
    except WrongMailbox as error:
        if url is not None:
            raise UsageError(str(error), hint=_EXAMPLES) from None
        raise _wrong(loaded, str(error), _EXAMPLES) from None
    return BounceTools(wanted, box, owners, tools)


def _checked(url: str) -> str:
    try:
        return check_optional_mailbox_url(url)
    except ValueError as error:
        raise UsageError(f"--mailbox: {error}", hint="newsletter bounces poll --mailbox maildir:PATH") from None


def _password(loaded: Loaded, url: str) -> str:
    if not url.startswith("imap"):
        return ""
    password = loaded.settings.bounces.password
    if password is None:
        suggestion = 'Write password = { env = "BOUNCES_PASSWORD" } under [bounces].'
        raise _wrong(loaded, "the mailbox is on an IMAP server, and no password is set", suggestion, "password")
    return never(password.resolve(os.environ, loaded.folder))


def _wrong(loaded: Loaded, message: str, suggestion: str, name: str = "mailbox") -> ConfigError:
    key = f"bounces.{name}"
    path, _, line = loaded.origins.get(key, "").rpartition(":")
    place = Place(loaded.path, int(line)) if path and line.isdigit() else Place(loaded.path)
    return ConfigError([Problem(key, f"{key}: {message}", place, suggestion=suggestion)])
