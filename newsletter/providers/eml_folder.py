"""Single mails as files in a folder, for projects that send nothing yet: each can be opened in a mail client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from newsletter.delivery.model import Accepted, Batch, Limits, Outcome, Receipt, Recipient, Refused
from newsletter.errors import AudienceError, OutputError, Place, shown
from newsletter.rendering.mime import MessageEncoder
from newsletter.rendering.model import RenderedIssue, Variant

_MODE = 0o600


class EmlFolder:
    """A mail provider that is a folder, made when the first mail comes. Unlike `disk` it may be used for years: a file
    is named by its time and Message-ID, so that the same mail is the same file."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder

    @property
    def name(self) -> str:
        """The provider's key under `[providers]`."""
        return self._name

    @property
    def limits(self) -> Limits:
        """A folder takes any batch."""
        return Limits(recipients_per_call=1_000_000)

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        """Writes the messages, readable by their owner alone; the reference of each is its file. A recipient for whom
        none can be made is refused; a full disk is an OutputError."""
        outcomes: dict[str, Outcome] = {}
        encoders = {variant: MessageEncoder(one, batch.letterhead) for variant, one in rendered.items()}
        for recipient in batch.recipients:
            try:
                message = _message(encoders[recipient.variant], recipient)
            except AudienceError as error:
                outcomes[recipient.id] = Refused(str(error))
                continue
            token = recipient.message_id[1:].partition("@")[0]
            file = self._folder / f"{batch.letterhead.date:%Y%m%d-%H%M%S}-{token[:12]}.eml"
            self._write(file, message)
            outcomes[recipient.id] = Accepted(shown(file))
        return Receipt(outcomes)

    def check(self) -> str:
        """See `MailProvider`."""
        return f"writes the mail into {shown(self._folder)}"

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, file: Path, message: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file.touch(_MODE)
            file.write_bytes(message)
        except OSError as error:
            hint = "Look at the room on the disk, and at the permissions of the folder."
            place = Place(shown(self._folder))
            raise OutputError(f"cannot be written: {error.strerror or error}", place=place, hint=hint) from error


def _message(encoder: MessageEncoder, recipient: Recipient) -> bytes:
    return encoder.message(
        to_address=recipient.address,
        to_name=recipient.name,
        message_id=recipient.message_id,
        unsubscribe_url=recipient.unsubscribe_url,
        values=recipient.values,
        unsubscribe_mailto=recipient.unsubscribe_mailto,
    )
