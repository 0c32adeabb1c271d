"""What stands around a provider of another package, which may be wrong in every way."""

from __future__ import annotations

from typing import Any

import pytest
from provider_examples import RENDERED, batch, recipient

from newsletter import logs
from newsletter.delivery.model import Accepted, Busy, Limits, Receipt, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.wiring.outside_provider import OutsideProvider

KEY = "coo-canary"
TWO = batch(recipient(1), recipient(2))


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", {KEY})


class Pigeon:
    """Does whatever it is given: an exception is raised, anything else returned."""

    name = "of its own choice\n"

    def __init__(self, does: object = None, limits: object = Limits(5)) -> None:
        self.limits = limits
        self._does = does

    def submit(self, *_: object) -> Any:
        if isinstance(self._does, Exception):
            raise self._does
        return self._does

    check = close = submit


def around(does: object = None, **limits: object) -> OutsideProvider:
    made: Any = Pigeon(does, **limits)
    return OutsideProvider("loft", made)


@pytest.mark.parametrize("limits", [Limits(0), Limits(-1), Limits("5"), {"recipients_per_call": 5}, None])  # type: ignore[arg-type]
def test_limits_under_which_a_run_would_never_end_are_refused_before_it_begins(limits: object) -> None:
    with pytest.raises(ValueError, match="gives no mail provider: its limits are "):
        around(limits=limits)


def test_it_goes_by_its_key_in_the_settings() -> None:
    assert around().name == "loft"


def test_an_error_leaves_everybody_unknown_and_its_words_hold_no_secret() -> None:
    receipt = around(RuntimeError(f"POST /?key={KEY}\nfailed")).submit(TWO, RENDERED)
    assert receipt == Receipt(dict.fromkeys(("1", "2"), Unknown("RuntimeError: POST /?key=… failed")))


def test_outcomes_are_as_it_says_without_secrets() -> None:
    said = Receipt({"1": Refused(f"{KEY}?", "550"), "2": Busy("later", 7.0), "3": Accepted("x")})
    assert around(said).submit(TWO, RENDERED).outcomes == {
        "1": Refused("…?", "550"),
        "2": Busy("later", 7.0),
        "3": Accepted("x"),
    }


@pytest.mark.parametrize("nonsense", [None, {}, Receipt(None), Receipt({"1": "yes"})])  # type: ignore[arg-type,dict-item]
def test_what_is_no_receipt_is_left_to_whoever_judges_receipts(nonsense: object) -> None:
    assert around(nonsense).submit(TWO, RENDERED) == nonsense


@pytest.mark.parametrize(("blame", "understood"), [("recipients", Blame.RECIPIENTS), ("who knows", Blame.CONTENT)])
def test_a_refusal_blames_one_of_three_and_holds_no_secret(blame: Any, understood: Blame) -> None:
    """`recipients` as a mere string would be retried for ever, and no one blamed."""
    provider = around(CallRefused(blame, f"the key {KEY} is revoked", "401"))
    for call in (lambda: provider.submit(TWO, RENDERED), provider.check):
        with pytest.raises(CallRefused) as raised:
            call()
        assert raised.value.blame is understood
        assert str(raised.value) == "401 the key … is revoked"
        assert raised.value.__cause__ is None


def test_a_check_that_fails_is_a_connection_that_fails() -> None:
    with pytest.raises(OSError, match=r"^ValueError: bad key …$"):
        around(ValueError(f"bad key {KEY}")).check()
    assert around(f"fed\nby {KEY}").check() == "fed by …"
    assert around(None).check() == "it says nothing of itself"


def test_what_goes_wrong_at_the_end_changes_nothing() -> None:
    around(RuntimeError(KEY)).close()
