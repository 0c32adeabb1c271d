"""Writes the mail into a folder instead of sending it: complete messages, and a list of who got one."""

from __future__ import annotations

import csv
import threading
from collections.abc import Mapping
from pathlib import Path

from newsletter.audience.spreadsheets import guarded
from newsletter.delivery.model import Accepted, Batch, Limits, Outcome, Receipt, Recipient, Refused
from newsletter.errors import AudienceError, OutputError, Place, shown
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.mime import MessageEncoder
from newsletter.rendering.model import RenderedIssue, Variant

MESSAGES = "messages"
RECIPIENTS = "recipients.csv"

_COLUMNS = ("number", "email", "name", "batch", "message_id", "unsubscribe_url", "eml")


class DiskProvider:
    """A mail provider that is a folder.

    `messages/NNNN.eml` holds the first `eml` messages as they would leave (None: all of them), `recipients.csv` every
    recipient with the links of the live mail. The folder must exist. The same batches give the same bytes.
    """

    def __init__(self, name: str, folder: Path, *, eml: int | None = 100) -> None:
        self._name = name
        self._folder = folder
        self._eml = eml
        self._written = 0
        self._encoders: dict[tuple[Letterhead, Variant], MessageEncoder] = {}
        self._one_at_a_time = threading.Lock()
        (folder / MESSAGES).mkdir()
        self._list = (folder / RECIPIENTS).open("w", encoding="utf-8", errors="replace", newline="")
        self._rows = csv.writer(self._list, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    @property
    def name(self) -> str:
        """The provider's key under `[providers]`."""
        return self._name

    @property
    def limits(self) -> Limits:
        """A folder takes any batch."""
        return Limits(recipients_per_call=1_000_000)

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        """Writes the batch. A recipient for whom no message can be made is refused; a full disk is an OutputError."""
        try:
            with self._one_at_a_time:
                return self._write_batch(batch, rendered)
        except OSError as error:
            hint = "Look at the room on the disk, and at the permissions of the folder."
            place = Place(shown(self._folder))
            raise OutputError(f"cannot be written: {error.strerror or error}", place=place, hint=hint) from error

    def check(self) -> str:
        """See `MailProvider`."""
        return f"writes the mail into {shown(self._folder)}"

    def close(self) -> None:
        """Finish the list of recipients."""
        self._list.close()

    def _write_batch(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        outcomes: dict[str, Outcome] = {}
        for recipient in batch.recipients:
            number = self._written + 1
            try:
                eml = self._write_message(number, batch, recipient, rendered[recipient.variant])
            except AudienceError as error:
                outcomes[recipient.id] = Refused(str(error))
                continue
            self._written = number
            self._rows.writerow(
                (
                    number,
                    guarded(recipient.address),
                    guarded(recipient.name),
                    batch.number,
                    recipient.message_id,
                    recipient.unsubscribe_url,
                    eml,
                )
            )
            outcomes[recipient.id] = Accepted(eml)
        return Receipt(outcomes)

    def _write_message(self, number: int, batch: Batch, recipient: Recipient, rendered: RenderedIssue) -> str:
        """The message is made even where it is not kept: a dry run meets every recipient that a live one would."""
        message = self._encoder(batch.letterhead, rendered).message(
            to_address=recipient.address,
            to_name=recipient.name,
            message_id=recipient.message_id,
            unsubscribe_url=recipient.unsubscribe_url,
            values=recipient.values,
            unsubscribe_mailto=recipient.unsubscribe_mailto,
        )
        if self._eml is not None and number > self._eml:
            return ""
        file = f"{MESSAGES}/{number:04d}.eml"
        (self._folder / file).write_bytes(message)
        return file

    def _encoder(self, letterhead: Letterhead, rendered: RenderedIssue) -> MessageEncoder:
        key = (letterhead, rendered.variant)
        if key not in self._encoders:
            self._encoders[key] = MessageEncoder(rendered, letterhead)
        return self._encoders[key]
