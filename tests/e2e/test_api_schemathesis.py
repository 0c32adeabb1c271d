"""Schemathesis makes calls out of the API's own description, right and wrong ones, and holds the answers against it.

A few examples of each operation, the same every time. For many, and for sequences of calls, run it by hand against
`newsletter web`: `st run URL/api/v1/openapi.json -H "Authorization: Bearer TOKEN" --max-examples 300`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from api_projects import EVERY, Api, ApiProject, description
from hypothesis import settings
from live_projects import RUN, eventually, smtp_server
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from servers.smtp_server import Script

from newsletter.access.model import Scope

pytestmark = pytest.mark.xdist_group("schemathesis")  # one server for all of them

#: What the API may say to a call that its description allows: there is nobody of that address, no list of that name.
_FAIR = ["2xx", 401, 403, 404, 409, 422]
_CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.positive_data_acceptance,
    checks.unsupported_method,
]
#: What goes through no more once the run is there, which the fixture begins. (test_api_runs has their good answers.)
_REFUSED = {"POST /runs/{newsletter}/{slot}", "POST /issues/{newsletter}/{slot}/approve"}
#: How often each operation gave each status.
_SEEN: Counter[tuple[str, int]] = Counter()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """With people, suppressions, and a run of which a part went out. The rest of its mail is held up to the end, so
    that it can be resumed, paused and cancelled meanwhile."""
    over = threading.Event()
    held = Script(react=lambda moment: _wait(over) if moment.step == "content" and moment.before >= 4 else None)
    with smtp_server(held) as server:
        project = ApiProject(tmp_path_factory.mktemp("api"), server.port)
        with project.api() as api:
            for name in ("anna", "ben", "zoe"):
                consent = {"at": "2026-01-01T00:00:00Z", "source": "test"}
                asked = {"email": f"{name}@example.com", "list": "daily-buzz", "consent": consent, "tags": ["a"]}
                assert api.call("POST", "/subscribers", json=asked).status_code in {200, 201}
            api.post("/suppressions", {"email": "zoe@example.com", "note": "test"}, 201)
            planned = api.post(f"/runs/{RUN}", {"confirm": 0}, 409)["detail"].rpartition("would be ")[2].split(":")[0]
            api.post(f"/runs/{RUN}", {"confirm": int(planned), "limit": 4}, 202)
            eventually(lambda: api.get(f"/runs/{RUN}")["state"] == "paused")
            yield api
            over.set()
    # calls that are all refused would have shown nothing
    for label in {label for label, _ in _SEEN}:
        statuses = {status for seen, status in _SEEN if seen == label}
        assert min(statuses) < 300 or label in _REFUSED, (label, statuses)
        assert max(statuses) >= 400, (label, statuses)


def _wait(over: threading.Event) -> None:
    over.wait(600)


def configured(coverage: dict[str, object]) -> schemathesis.BaseSchema:
    config = {
        "seed": 20260107,
        "checks": {"positive_data_acceptance": {"expected-statuses": _FAIR}},
        "phases": {"coverage": coverage},
    }
    return schemathesis.openapi.from_dict(description(), config=schemathesis.Config.from_dict(config))


schema = configured({"unexpected-methods": ["PUT", "TRACE"]})
#: Without going through every boundary of every field.
short_schema = configured({"enabled": False})


@schema.parametrize()
@settings(max_examples=12, derandomize=True, database=None)
def test_no_call_breaks_the_server_and_every_answer_is_as_described(case: Case[Any], api: Api) -> None:
    answer = case.call_and_validate(base_url=api.url, headers=_with(api, EVERY), checks=_CHECKS)
    _SEEN[case.operation.label, answer.status_code] += 1


@short_schema.parametrize()
@settings(max_examples=3, derandomize=True, database=None)
@pytest.mark.parametrize("token", [*(scope.value for scope in Scope), ""])
def test_whose_token_does_not_allow_it_is_refused_whatever_they_send(case: Case[Any], api: Api, token: str) -> None:
    headers = _with(api, token) if token else {"Authorization": ""}
    answer = case.call_and_validate(base_url=api.url, headers=headers, checks=_CHECKS[:5])
    [needed] = case.operation.definition.raw["security"][0]["token"]
    if not token:
        assert answer.status_code == 401
    elif token != needed:
        assert answer.status_code >= 400, answer.text


def _with(api: Api, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.tokens[name]}"}
