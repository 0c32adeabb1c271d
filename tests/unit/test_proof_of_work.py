"""A proof of work counts once, in time, and only where the challenge was ours."""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from altcha.v1 import solve_challenge
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import ConfigError
from newsletter.settings.load import load_settings
from newsletter.web.proof_of_work import ProofOfWork, proof_of_work

SECRET = "s" * 40


def work(**terms: Any) -> ProofOfWork:
    return ProofOfWork(SECRET, **{"hardest": 200, **terms})


def solved(challenge: Mapping[str, Any], **changes: object) -> str:
    """The payload of the solution."""
    found = solve_challenge(challenge["challenge"], challenge["salt"], "SHA-256", challenge["maxnumber"])
    assert found is not None
    fields = {name: challenge[name] for name in ("algorithm", "challenge", "salt", "signature")}
    return encoded({**fields, "number": found.number, **changes})


def encoded(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def test_a_solution_counts_once() -> None:
    ours = work()
    payload = solved(ours.challenge())
    assert ours.accepts(payload)
    assert not ours.accepts(payload)
    # nor spelled otherwise
    document = json.loads(base64.b64decode(payload))
    assert not ours.accepts(encoded({**document, "salt": document["salt"].removesuffix("&")}))
    assert not ours.accepts(encoded({**document, "more": 1}))
    assert ours.accepts(solved(ours.challenge()))


def test_of_many_at_once_one_counts() -> None:
    ours = work()
    payload = solved(ours.challenge())
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: ours.accepts(payload), range(64))) == 1


def test_what_is_not_ours_or_not_solved_does_not_count() -> None:
    ours = work()
    challenge = ours.challenge()
    assert not ours.accepts(solved(ProofOfWork("t" * 40, hardest=200).challenge()))
    assert not ours.accepts(solved(challenge, number=10_000))
    assert not ours.accepts(solved(challenge, signature="0" * 64))
    assert not ours.accepts(solved(challenge, algorithm="SHA-1"))
    later = str(challenge["salt"]).replace("expires=", "expires=9")
    assert not ours.accepts(solved(challenge, salt=later))
    assert ours.accepts(solved(challenge))


def test_a_solution_that_comes_too_late_does_not_count() -> None:
    late = work(lifetime=dt.timedelta(seconds=-2))
    assert not late.accepts(solved(late.challenge()))


def test_another_process_of_the_same_site_takes_it() -> None:
    assert work().accepts(solved(work().challenge()))


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newsletter.web.proof_of_work.MOST_USED", 10)
    ours = work(hardest=5)
    payloads = [solved(ours.challenge()) for _ in range(30)]
    assert all(ours.accepts(one) for one in payloads)
    assert len(ours._used) <= 10
    assert not ours.accepts(payloads[-1])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)
FIELDS = st.dictionaries(st.sampled_from(["algorithm", "challenge", "number", "salt", "signature"]), JSON)


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()) | (JSON | FIELDS).map(encoded))
def test_nothing_that_is_sent_is_an_error(payload: str) -> None:
    assert not work().accepts(payload)


@given(st.sampled_from(["challenge", "number", "salt", "signature", "algorithm"]), JSON)
def test_no_field_may_be_of_another_kind(name: str, value: object) -> None:
    good = {
        "algorithm": "SHA-256",
        "challenge": "0" * 64,
        "number": 1,
        "salt": "a?expires=9999999999&",
        "signature": "",
    }
    assert not work().accepts(encoded({**good, name: value}))


def test_without_the_package_the_start_says_what_to_install(tmp_path: Path) -> None:
    text = '[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n[web.signup]\nproof_of_work = true\n'
    (tmp_path / "config.toml").write_text(text)
    loaded = load_settings(tmp_path / "config.toml", {})
    assert proof_of_work(loaded, [SECRET]) is not None
    with mock.patch.dict(sys.modules, {"altcha": None, "altcha.v1": None}), pytest.raises(ConfigError) as raised:
        proof_of_work(loaded, [SECRET])
    [problem] = raised.value.problems
    assert "altcha" in problem.message
    assert "pip install" in problem.suggestion
    assert (problem.key, problem.place.line) == ("web.signup.proof_of_work", 5)


def test_where_none_is_wanted_the_package_is_not_needed(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n')
    with mock.patch.dict(sys.modules, {"altcha": None, "altcha.v1": None}):
        assert proof_of_work(load_settings(tmp_path / "config.toml", {}), [SECRET]) is None
