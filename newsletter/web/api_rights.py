"""What a call may do: the scope that its operation needs, and the parameters that it takes, once each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer, SecurityScopes

from newsletter.access.model import ApiToken, Scope
from newsletter.web.api_gate import TOKEN
from newsletter.web.api_problems import CHALLENGE, Problem

#: For the description; `api_gate` has looked at the token before.
_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token of `newsletter tokens add`, for one or more scopes: "
    "`read` looks at subscribers, runs and issues; `subscribers` adds, changes and removes subscribers; "
    "`send` approves, sends, pauses, resumes and cancels. None includes another.",
)


def _with_scope(needed: SecurityScopes, request: Request, _: Annotated[object, Depends(_BEARER)]) -> ApiToken:
    """The token. Raises Problem where it does not allow the operation (RFC 6750, section 3.1)."""
    token: ApiToken = getattr(request.state, TOKEN)
    if not token.scopes >= {Scope(one) for one in needed.scopes}:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "insufficient_scope",
            f"this needs a token with the scope {needed.scope_str}",
            headers={"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{needed.scope_str}"'},
        )
    return token


Reader = Annotated[ApiToken, Security(_with_scope, scopes=[Scope.READ.value])]
Keeper = Annotated[ApiToken, Security(_with_scope, scopes=[Scope.SUBSCRIBERS.value])]
Sender = Annotated[ApiToken, Security(_with_scope, scopes=[Scope.SEND.value])]


def refuse_odd_query(request: Request) -> None:
    """Raises Problem where a parameter stands in the URL that the operation does not have, or twice."""
    route = request.scope.get("route")
    assert isinstance(route, APIRoute)
    known = {one.alias for one in route.dependant.query_params}
    given = [name for name, _ in request.query_params.multi_items()]
    odd = [(name, "there is no such parameter") for name in dict.fromkeys(given) if name not in known]
    odd += [(name, "it stands there twice") for name in known if given.count(name) > 1]
    if odd:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid",
            "the request is not understood",
            problems=[{"at": f"query.{name[:100]}", "said": said} for name, said in odd],
        )


def source_of(token: ApiToken) -> str:
    """What a record says of where it comes from."""
    return f"api:{token.name}"
