"""The API describes itself whole, and the docs say the same."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator

from newsletter.access.model import Scope
from newsletter.audience.model import ConsentState
from newsletter.audience.people import Consent, Lift, LiftedBy, Membership, Person, Suppression, SuppressionReason
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, Delivery, RunRecord, WorkerRecord
from newsletter.delivery.states import DeliveryState, Mark, RunState
from newsletter.pipeline.people import person_document
from newsletter.pipeline.run_report import RunReport, counts_document, delivery_document, status_document
from newsletter.web import api_documents as documents
from newsletter.web.api import api, described

ROOT = Path(__file__).parents[2]
NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """It needs nothing to be there."""
    public = cast("Any", SimpleNamespace(audience=None, loaded=None, ledger=None))
    return described(api(public, cast("Any", None)))


def operations(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


def test_the_docs_list_every_operation_with_its_scope(description: dict[str, Any]) -> None:
    text = (ROOT / "docs/reference/web.md").read_text("utf-8").split("\n## API\n")[1].split("\n## ")[0]
    documented = dict(re.findall(r"^\| `([A-Z]+ /[^`]*)` \| `([a-z]+)` \|", text, flags=re.MULTILINE))
    there = {name: one["security"][0]["token"][0] for name, one in operations(description).items()}
    assert documented == there
    assert set(there.values()) == {scope.value for scope in Scope}


def test_every_operation_says_what_it_does_what_it_answers_and_what_goes_wrong(description: dict[str, Any]) -> None:
    names = [one["operationId"] for one in operations(description).values()]
    assert len(set(names)) == len(names) == 19
    for name, one in operations(description).items():
        assert one["description"], name
        assert one["security"] == [{"token": [one["security"][0]["token"][0]]}], name
        responses = one["responses"]
        assert {"401", "403", "422", "429", "500", "503"} <= responses.keys(), name
        for status, response in responses.items():
            [(kind, content)] = response["content"].items()
            assert kind == ("application/json" if status < "300" else "application/problem+json"), (name, status)
            assert content["schema"]["$ref"].startswith("#/components/schemas/"), (name, status)
        if "requestBody" in one:
            assert one["requestBody"]["required"] is True, name
            assert {"400", "413", "415"} <= responses.keys(), name
    assert description["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_every_reference_leads_somewhere_and_every_object_that_is_sent_is_closed(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    for reference in set(re.findall(r"'#/components/schemas/(\w+)'", str(description))):
        assert reference in schemas
    sent = {one["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            for one in operations(description).values() if "requestBody" in one}  # fmt: skip
    for name in (*sent, "ConsentGiven"):
        assert schemas[name]["additionalProperties"] is False, name
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def fields(model: type[documents.Document]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_the_documents_of_the_command_line_have_the_fields_that_are_described() -> None:
    """What is shared with `--json` is described whole: a field that is added there is added here."""
    lift = Lift(NOW, LiftedBy.OPERATOR, "why", "a")
    person = Person(
        1,
        "a@example.com",
        "a@example.com",
        memberships=(Membership("a", ConsentState.PENDING, NOW),),
        consents=(Consent("a", NOW),),
        suppressions=(Suppression(1, "a@example.com", SuppressionReason.MANUAL, None, NOW, lifted_for=(lift,)),),
    )
    name = RunName("a", "2026-01-07")
    delivery = Delivery(name, 1, "a@example.com", DeliveryState.ACCEPTED, 1, 1, Mark.BOUNCED)
    balance = Balance(1, {DeliveryState.ACCEPTED: 1}, {Mark.BOUNCED: 1})
    run = RunRecord(
        1, name, NOW.date(), "", RunState.FINISHED, "hash", "Subject", "smtp", 1, cast("Any", None), NOW, NOW
    )
    shown = cast("dict[str, Any]", person_document(person, [delivery]))
    assert shown.keys() == fields(documents.WholeSubscriber) - {"sign_ups", "events", "clicks_and_opens"}
    assert shown["memberships"][0].keys() == fields(documents.Membership)
    assert shown["consents"][0].keys() == fields(documents.Consent)
    assert shown["suppressions"][0].keys() == fields(documents.Suppression)
    assert shown["suppressions"][0]["lifted_for"][0].keys() == fields(documents.Lift)
    assert delivery_document(delivery).keys() == fields(documents.Delivery)
    assert counts_document(run, balance).keys() == fields(documents.RunCounts)
    worker = WorkerRecord("mail-1 pid 7", True, 1, 1, 1)
    report = RunReport(run, balance, {}, {(DeliveryState.REJECTED, "no"): 1}, [worker], True)
    status = cast("dict[str, Any]", status_document(report))
    assert status.keys() == fields(documents.Run)
    assert status["workers"][0].keys() == fields(documents.RunWorker)
    assert status["reasons"][0].keys() == fields(documents.Reason)


def test_the_words_for_states_are_those_of_the_program() -> None:
    assert set(documents.DeliveryStateName.__args__) == {state.name.lower() for state in DeliveryState}  # type: ignore[attr-defined]
    assert set(documents.RunStateName.__args__) == {state.value for state in RunState}  # type: ignore[attr-defined]
    assert set(documents.State.__args__) == {state.value for state in ConsentState}  # type: ignore[attr-defined]
