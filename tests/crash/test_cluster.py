"""Four workers on hosts of their own that are killed, stopped and cut off: nobody is lost, nobody gets it twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cluster_trials import CLUSTER_TRIALS, STEPS, killed_at_random, killed_at_steps
from crash_trials import Finding, Tools
from recorders import Mail


def well(finding: Finding) -> bool:
    assert finding.faults == [], "\n".join(finding.faults)
    return finding.finished and not finding.lost and not finding.doubled


@pytest.mark.parametrize("steps", [STEPS[:7], STEPS[7:13], STEPS[13:]], ids=["ledger", "journal", "wire"])
def test_workers_killed_at_named_steps(crash_tools: Tools, steps: Sequence[str]) -> None:
    finding = killed_at_steps(crash_tools, Mail.SMTP, steps, seed=1)
    assert well(finding)
    assert len(finding.kills) >= 4


@pytest.mark.parametrize("mail", Mail)
def test_workers_killed_at_random(crash_tools: Tools, mail: Mail) -> None:
    assert well(killed_at_random(crash_tools, mail, 4, seed=1))


@pytest.mark.parametrize("name", CLUSTER_TRIALS)
def test_what_else_befalls_workers(crash_tools: Tools, name: str) -> None:
    assert well(CLUSTER_TRIALS[name](crash_tools))
