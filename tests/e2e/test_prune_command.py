"""`db prune`, run as a user runs it, on a project whose runs are over."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from live_projects import SHIPPED, LiveProject, smtp_server

ONE_RUN = {"runs": 1, "calls_of_runs": 1, "recipients_of_runs": 1}


@pytest.fixture
def sent(tmp_path: Path) -> LiveProject:
    """An issue went out, and is to be forgotten as soon as may be."""
    with smtp_server() as server:
        project = LiveProject(tmp_path / "project", server.port)
        assert project.send().code == 0
    project.edit(project.config, 'attempts = "180d"', 'attempts = "1d"')
    project.edit(project.config, 'runs = "730d"', 'runs = "1d"')
    database = project.folder / "var/newsletter.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE run SET ended_at = ended_at - 100000")
    return project


def test_recipients_go_and_that_it_went_out_stays(sent: LiveProject) -> None:
    before, history = sent.status(), sent.call("history", "--json").out
    dry = sent.call("db", "prune", "--dry-run", "--json")
    assert (dry.code, dry.json) == (0, {**ONE_RUN, "recipients": SHIPPED})
    assert sent.status() == before
    assert sent.call("db", "prune", "--dry-run").out == (
        f"1 run would lose calls and words, 1 run its recipients: {SHIPPED}.\n"
    )
    done = sent.call("db", "prune", "--vacuum", "--json")
    assert done.code == 0, done.err
    assert done.json == {
        **{
            "runs": 1,
            "recipients": SHIPPED,
            "batches": 1,
            "attempts": 1,
            "notes": 0,
            "events": 0,
            "hits": 0,
            "journal_bytes": 0,
        },
        "vacuum": True,
    }
    assert (sent.status(), sent.call("history", "--json").out) == (before, history)
    who = sent.call("status", "--who", "accepted")
    assert (who.code, who.out) == (0, "")
    assert f"Who the people were, {SHIPPED}, is no longer kept (retention.runs)" in who.err
    again = sent.send()
    assert (again.code, "Already sent" in again.err) == (5, True)
    assert sent.call("db", "prune").out.startswith("runs 0 · recipients 0 · ")
    address = re.findall(r"[\w.]+@example\.\w+", (sent.folder / "subscribers/daily-buzz.csv").read_text("utf-8"))[0]
    person = sent.call("subscribers", "show", address, "--json")
    assert (person.code, person.json["deliveries"]) == (0, []), person


def test_the_words_are_those_of_the_daemon_too(sent: LiveProject) -> None:
    """It prunes when it leads; what it removed stands in the log."""
    sent.edit(sent.config, "enabled = false", "enabled = true")
    ended = sent.run("run", "--once")
    assert "pruned" in ended.err, ended
    assert sent.call("db", "prune", "--dry-run", "--json").json == dict.fromkeys([*ONE_RUN, "recipients"], 0)
    assert sent.call("db", "prune", "--dry-run").out.startswith("Nothing to prune")
