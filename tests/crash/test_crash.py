"""Processes that are killed in the middle of a send: nobody is lost, nobody gets it twice, and the run is finished.

`make crash` does the same a thousand times and more.
"""

from __future__ import annotations

import pytest
from crash_table import cells, run_cell
from crash_trials import Tools
from kill_plans import Cell

#: So many in each of the sixteen cells.
KILLS = 4


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_nobody_is_lost_or_doubled_and_the_run_is_finished(crash_tools: Tools, cell: Cell) -> None:
    row = run_cell(crash_tools, cell, KILLS, seed=2026, people=120, numbers=[KILLS])
    assert row.faults == []
    assert (row.lost, row.doubled, row.finished) == (0, 0, row.trials)
    assert row.kills >= KILLS
