"""What `doctor` looks with: the parts of this configuration, made but not used."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from newsletter.doctor.dns_questions import NameServers
from newsletter.doctor.model import DatabaseFacts, Surroundings
from newsletter.settings.loaded import Loaded
from newsletter.wiring.cluster import refuse_unfit
from newsletter.wiring.mail_providers import mail_provider
from newsletter.wiring.parts import database, template_roots

if TYPE_CHECKING:
    from sqlalchemy import Engine


def surroundings(loaded: Loaded, *, online: bool, name_server: str = "") -> Surroundings:
    """The parts; `name_server`: the one to ask, '' for those of the machine. Raises UsageError where it is none."""

    def facts() -> DatabaseFacts:
        from newsletter.store.upgrade import database_state  # see wiring.parts.database

        with _opened(loaded) as engine:
            state = database_state(engine)
        return DatabaseFacts(state.current, state.head, state.empty)

    def server_time() -> dt.datetime:
        import sqlalchemy as sa  # see wiring.parts.database

        from newsletter.store.engine import reading

        with _opened(loaded) as engine, reading(engine) as connection:
            found: dt.datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        return found

    return Surroundings(
        loaded=loaded,
        environ=os.environ,
        online=online,
        texts=NameServers(name_server).texts,
        template_roots=template_roots(loaded),
        database=facts,
        database_time=None if loaded.settings.database.url.startswith("sqlite") else server_time,
        provider=lambda name: mail_provider(loaded, name),
        refuse_unfit=lambda name: refuse_unfit(loaded, name),
    )


@contextmanager
def _opened(loaded: Loaded) -> Iterator[Engine]:
    engine = database(loaded)
    try:
        yield engine
    finally:
        engine.dispose()
