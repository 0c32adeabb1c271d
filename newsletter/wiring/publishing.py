"""Keeps an issue for the archive when its run begins, whatever else may fail then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from newsletter import logs
from newsletter.pipeline.prepare import Prepared
from newsletter.pipeline.publish_issue import publish_issue
from newsletter.rendering.words import words_of
from newsletter.wiring.parts import database, template_roots

if TYPE_CHECKING:
    from sqlalchemy import Engine


class Publisher:
    """Called once before a run sends; `again` tries once more what failed then. Neither raises: the morning's mail is
    worth more than its copy, and the log says what is missing."""

    def __init__(self, engine: Engine | None = None) -> None:
        #: the database, where it is open already
        self._engine = engine
        self._failed: Prepared | None = None

    def __call__(self, prepared: Prepared) -> None:
        """Keeps the issue as it goes out."""
        try:
            _publish(prepared, self._engine)
            self._failed = None
        except Exception as error:  # noqa: BLE001 - whatever it is, the mail goes out
            self._failed = prepared
            logs.write("error", "not_in_the_archive", run=str(prepared.run), error=f"{type(error).__name__}: {error}")

    def again(self) -> None:
        """After the run."""
        if self._failed is not None:
            self(self._failed)


def _publish(prepared: Prepared, engine: Engine | None) -> None:
    from newsletter.store.archive import SqlArchive  # see newsletter.wiring.parts.database

    loaded = prepared.request.loaded
    language = prepared.newsletter.language or loaded.settings.site.language
    words = words_of(language, template_roots(loaded))
    publish_issue(prepared, SqlArchive(engine or database(loaded)), reader=words("archive.reader"))
