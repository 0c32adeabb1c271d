"""Four daemons at once, as `four_daemons.py` tries two hundred times."""

from __future__ import annotations

import signal

import pytest
from crash_trials import Tools
from daemons_on_hosts import leader_ends
from four_daemons import one_trial, outage_trial
from fresh_databases import PostgresServer
from trial_projects import Kind


@pytest.mark.parametrize("kind", Kind)
def test_four_daemons_at_once_send_one_run(crash_tools: Tools, kind: Kind) -> None:
    for _ in range(2):
        assert one_trial(crash_tools, kind, kill=False).faults == []


@pytest.mark.parametrize("kind", Kind)
def test_another_daemon_goes_on_when_the_one_that_sends_is_killed(crash_tools: Tools, kind: Kind) -> None:
    tried = one_trial(crash_tools, kind, kill=True)
    assert tried.faults == []
    assert tried.failover is not None
    assert tried.failover < 30


def test_a_database_that_goes_away_in_mid_send_is_waited_for_and_nobody_gets_it_twice(
    crash_tools: Tools, postgres_server: PostgresServer
) -> None:
    assert outage_trial(crash_tools, postgres_server).faults == []


def test_of_daemons_on_two_hosts_another_leads_when_the_first_is_killed_and_the_workers_send_on(
    crash_tools: Tools,
) -> None:
    led = leader_ends(crash_tools, signal.SIGKILL, workers=2)
    assert led.faults == []
    assert led.seconds < 30
