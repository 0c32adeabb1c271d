"""The suite has teeth: without any one of the safeties it says so."""

from __future__ import annotations

import pytest
from crash_trials import Tools
from mutation_trials import CHECKS, is_noticed, noticed


@pytest.mark.parametrize("name", CHECKS)
def test_a_safety_that_is_missing_is_noticed(crash_tools: Tools, name: str) -> None:
    sound, mutated = noticed(crash_tools, name)
    assert sound == []
    assert is_noticed(name, mutated), mutated
