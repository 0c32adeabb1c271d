"""`tokens add`, `list` and `revoke`: who may use the API, and for what."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.access.model import Scope, digest_of, new_token
from newsletter.cli.announced import group_of_commands
from newsletter.cli.console import count
from newsletter.cli.context import Globals, globals_of
from newsletter.cli.options import JsonOption
from newsletter.errors import NothingToDo, UsageError

if TYPE_CHECKING:
    from newsletter.access.model import ApiToken, TokenStore

app = group_of_commands("Tokens of the API.")

#: Characters of a token's name, which stands in records as their source.
LONGEST_NAME = 60

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What the token is called: crm, deploy.")]


@app.command()
def add(
    context: typer.Context,
    name: NameArgument,
    scopes: Annotated[
        list[Scope] | None,
        typer.Option("--scope", help="What it allows; may be given several times."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a token for the API and print its secret: this once, for only a hash of it is kept.

    \b
    Examples:
      newsletter tokens add dashboard --scope read
      newsletter tokens add crm --scope read --scope subscribers
    """
    options = globals_of(context, json=json)
    _refuse_odd_name(name)
    if not scopes:
        every = ", ".join(Scope)
        raise UsageError(
            "a token without a scope would allow nothing", hint=f"Give --scope, once for each of: {every}."
        )
    console, secret = options.console, new_token()
    added = _store(options).add(name, digest_of(secret), scopes, now=dt.datetime.now(dt.UTC))
    console.say(secret)
    console.note(f"{added.name} allows {_allowed(added)}. Keep it now: it is not shown again.")
    console.data({**_document(added), "token": secret})


@app.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> None:
    """List the tokens with what they allow, those that were revoked too. Their secrets are not kept.

    \b
    Examples:
      newsletter tokens list
      newsletter tokens list --json
    """
    options = globals_of(context, json=json)
    tokens = _store(options).tokens()
    for one in tokens:
        revoked = f", revoked {one.revoked_at:%Y-%m-%d}" if one.revoked_at else ""
        options.console.say(f"{one.name:<16}{_allowed(one):<28}made {one.created_at:%Y-%m-%d}{revoked}")
    options.console.note(count(len(tokens), "token"))
    options.console.data([_document(one) for one in tokens])


@app.command()
def revoke(context: typer.Context, name: NameArgument, json: JsonOption = False) -> None:
    """Revoke a token: from now on it allows nothing. Its name is free for another one.

    \b
    Examples:
      newsletter tokens revoke crm
      newsletter tokens revoke crm --json
    """
    options = globals_of(context, json=json)
    if not _store(options).revoke(name, now=dt.datetime.now(dt.UTC)):
        raise NothingToDo(f"no token named {name} is in use", hint="newsletter tokens list shows those that there are")
    options.console.say(f"{name} is revoked")
    options.console.data({"name": name, "revoked": True})


def _refuse_odd_name(name: str) -> None:
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= LONGEST_NAME:
        raise UsageError(
            f"{name!r} does not do as a name", hint=f"Up to {LONGEST_NAME} characters that can be read: crm, deploy."
        )


def _store(options: Globals) -> TokenStore:
    from newsletter.wiring.tokens import token_store  # loads the database; `--help` needs none

    return token_store(options.settings(), options.console.note)


def _allowed(token: ApiToken) -> str:
    return ", ".join(scope for scope in Scope if scope in token.scopes) or "nothing"


def _document(token: ApiToken) -> dict[str, object]:
    return {
        "name": token.name,
        "scopes": [scope.value for scope in Scope if scope in token.scopes],
        "created_at": token.created_at.isoformat(),
        "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
    }
