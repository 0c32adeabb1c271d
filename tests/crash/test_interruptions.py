"""What befalls a send besides a kill: stopped for too long, without its database, without room, in company."""

from __future__ import annotations

import pytest
from crash_trials import Tools
from database_trials import DATABASE_TRIALS
from further_trials import (
    SLEEPS,
    four_at_once,
    left_while_it_was_stopped,
    restored,
    soak,
    stopped_beyond_its_lease,
    stopped_with_its_lock,
    unsubscribes_race,
)
from recorders import Mail
from trial_projects import Kind

#: `make crash` goes through all that there are; here those that take no time to speak of.
QUICK = [name for name in DATABASE_TRIALS if "after each commit" not in name and "150,000" not in name]


@pytest.mark.parametrize(("step", "threads"), [SLEEPS[0], SLEEPS[-1]])
def test_a_process_that_slept_beyond_its_lease_sends_nothing_again(crash_tools: Tools, step: str, threads: int) -> None:
    assert stopped_beyond_its_lease(crash_tools, step, threads) == []


@pytest.mark.parametrize("step", ["submit-before:3", "exchange-commit-before:3"])
def test_on_one_machine_a_process_that_sleeps_keeps_its_run(crash_tools: Tools, step: str) -> None:
    assert stopped_with_its_lock(crash_tools, step) == []


@pytest.mark.parametrize("kind", Kind)
def test_who_leaves_while_a_process_sleeps_is_not_mailed_when_it_wakes(crash_tools: Tools, kind: Kind) -> None:
    assert left_while_it_was_stopped(crash_tools, kind) == []


@pytest.mark.parametrize("name", QUICK)
def test_a_send_bears_a_database_that_fails_under_it(crash_tools: Tools, name: str) -> None:
    assert DATABASE_TRIALS[name](crash_tools) == []


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("meet", [False, True], ids=["as it happens", "all past the guards"])
def test_of_four_that_are_started_at_once_one_sends(crash_tools: Tools, kind: Kind, meet: bool) -> None:
    assert four_at_once(crash_tools, kind, meet=meet) == []


@pytest.mark.parametrize("kind", Kind)
def test_a_database_that_was_restored_in_mid_run_does_not_send_again(crash_tools: Tools, kind: Kind) -> None:
    assert restored(crash_tools, kind) == []


@pytest.mark.parametrize(("kind", "people", "leavers"), [(kind, 900, 600) for kind in Kind])
def test_nobody_who_had_left_before_the_claim_is_mailed(
    crash_tools: Tools, kind: Kind, people: int, leavers: int
) -> None:
    race = unsubscribes_race(crash_tools, kind, people, leavers)
    assert race.faults == []
    # they met; on a slow machine all may have left before their claim
    assert race.left_before > leavers // 100


@pytest.mark.parametrize("mail", Mail)
def test_a_provider_with_every_fault_loses_nobody(crash_tools: Tools, mail: Mail) -> None:
    finding = soak(crash_tools, mail, 2_000)
    assert finding.faults == []
