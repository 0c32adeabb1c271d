"""A daemon that reads its settings again, with the parts that `newsletter run` puts together."""

from __future__ import annotations

from pathlib import Path

import pytest

from newsletter.alerts.model import Alert, Beat
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.wiring import daemons
from newsletter.wiring.daemons import RunningSchedule, open_database

SETTINGS = """
[newsletters.a]
title = "A"
from = "a@example.com"
lists = ["a"]
[newsletters.a.schedule]
enabled = true
"""


class Listening:
    def __init__(self) -> None:
        self.closed = False

    def tell(self, alert: Alert) -> None:
        pass

    def beat(self, beat: Beat) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_at_the_end_the_places_of_the_newest_settings_have_their_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told in threads that do not keep the process from ending."""
    path = tmp_path / "config.toml"
    path.write_text(SETTINGS)
    tellers: list[Listening] = []

    def teller(_: Loaded) -> Listening:
        tellers.append(Listening())
        return tellers[-1]

    monkeypatch.setattr(daemons, "teller", teller)
    loaded = load_settings(path, {})
    running = RunningSchedule(loaded, lambda _: None, lambda: load_settings(path, {}))
    looks = []

    def on_look() -> None:
        looks.append(1)
        running.read_again.set()
        if len(looks) == 2:
            running.stop.set()

    running.on_look = on_look
    running.run(open_database(loaded, lambda _: None))
    assert len(tellers) == 3
    assert tellers[-1].closed
