"""A project with its web part served in this process, and calls of its API as programs make them."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
from jsonschema import Draft202012Validator
from live_projects import LiveProject

from newsletter import wiring
from newsletter.access.model import Scope, digest_of, new_token
from newsletter.metrics import Metrics
from newsletter.settings.loaded import Loaded
from newsletter.web.api import PREFIX, api, described
from newsletter.web.sending_desk import SendingDesk
from newsletter.web.serving import web_server
from newsletter.wiring.tokens import token_store

if TYPE_CHECKING:
    from newsletter.audience.store import AudienceStore
    from newsletter.delivery.ledger import Ledger
    from newsletter.web.public import Public

#: The names of tokens that the tests have: one for each scope, and one with all.
EVERY = "every"


@dataclass
class Api:
    """The API at a URL, with the secrets of tokens by their names."""

    url: str
    client: httpx.Client
    tokens: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, *, as_: str = EVERY, **options: Any) -> httpx.Response:
        """Calls an operation with the token of this name; '' for none."""
        headers = {"Authorization": f"Bearer {self.tokens[as_]}"} if as_ else {}
        answer = self.client.request(method, self.url + path, headers=headers | options.pop("headers", {}), **options)
        _hold_against_the_description(answer, answer.url.path.removeprefix(PREFIX))
        return answer

    def get(self, path: str, status: int = 200, **parameters: Any) -> Any:
        """What a GET answers, which must have this status."""
        return answered(self.call("GET", path, params=parameters), status)

    def post(self, path: str, document: object, status: int = 200) -> Any:
        """What a POST answers, which must have this status."""
        return answered(self.call("POST", path, json=document), status)

    def items(self, path: str, *, limit: int = 2, **parameters: Any) -> list[Any]:
        """A whole list, part after part."""
        found: list[Any] = []
        after = ""
        while True:
            part = self.get(path, limit=limit, after=after, **parameters)
            assert len(part["items"]) <= limit
            found += part["items"]
            if part["next"] is None:
                return found
            after = part["next"]


def description() -> dict[str, Any]:
    """The API's description of itself, for which nothing has to be there."""
    nothing = cast("Public", SimpleNamespace(audience=None, loaded=None, ledger=None))
    return described(api(nothing, SendingDesk(cast("Ledger", None), cast("AudienceStore", None))))


def _hold_against_the_description(answer: httpx.Response, path: str) -> None:
    """Every answer that a test gets is one that the API describes: its status, its type, and what is in it."""
    method, found = answer.request.method.lower(), _operation_at(path)
    if method not in found:
        return
    told = found[method]["responses"].get(str(answer.status_code))
    assert told is not None, f"{method} {path}: {answer.status_code} is not described: {answer.text}"
    [(kind, content)] = told["content"].items()
    assert answer.headers["content-type"] == kind
    Draft202012Validator({"$ref": f"#{_pointer(content)}", "components": _described()["components"]}).validate(
        answer.json()
    )


def _pointer(content: dict[str, Any]) -> str:
    reference: str = content["schema"]["$ref"]
    return reference.removeprefix("#")


def _operation_at(path: str) -> dict[str, Any]:
    for template, operations in _described()["paths"].items():
        if re.fullmatch(re.sub(r"{email}", ".*@[^/]+", re.sub(r"{(newsletter|slot)}", "[^/]+", template)), path):
            found: dict[str, Any] = operations
            return found
    return {}


@cache
def _described() -> dict[str, Any]:
    return description()


def answered(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


class ApiProject(LiveProject):
    """The shipped project with its mail going to an SMTP server of this machine; a port of 1: to none."""

    def __init__(self, folder: Path, port: int = 1) -> None:
        super().__init__(folder, port)

    @property
    def loaded(self) -> Loaded:
        return wiring.settings(self.config)

    @contextlib.contextmanager
    def api(self) -> Iterator[Api]:
        """Serves it, with tokens."""
        loaded = self.loaded
        with web_server(loaded, Metrics(), port=0) as server, httpx.Client(timeout=60) as client:
            yield Api(server.url.rstrip("/") + PREFIX, client, tokens_of(loaded))


def tokens_of(loaded: Loaded) -> dict[str, str]:
    """New tokens: one of each scope by the scope's name, and one of all."""
    store, now = token_store(loaded), dt.datetime.now(dt.UTC)
    found = {}
    for name, scopes in {EVERY: list(Scope), **{scope.value: [scope] for scope in Scope}}.items():
        store.revoke(name, now=now)
        found[name] = new_token()
        store.add(name, digest_of(found[name]), scopes, now=now)
    return found
