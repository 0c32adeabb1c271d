"""One HTTP request to somebody who is told, and what its failure means."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from newsletter import __version__
from newsletter.alerts.courier import NotTold

#: Seconds for each step: connecting, writing, each read.
TIMEOUT = 10.0
#: Answers that may be others in a moment: timeout, too early, too many requests (RFC 9110, RFC 6585), and all 5xx.
_PASSING = frozenset({408, 425, 429})
#: Whatever a Retry-After says, an alert waits no longer.
_LONGEST_WAIT = 300.0


def request(method: str, url: str, content: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
    """Makes the request and wants 2xx. Raises NotTold, whose reason repeats nothing of the URL.

    Redirects are not followed: what is told must not go where nobody sent it. The proxies of the environment are used.
    """
    try:
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=False) as client,
            client.stream(
                method, url, content=content, headers={"User-Agent": f"newsletter/{__version__}", **(headers or {})}
            ) as response,
        ):
            status, retry_after = response.status_code, response.headers.get("Retry-After", "")
    except httpx.ConnectTimeout:
        raise NotTold(f"no connection within {TIMEOUT:g} s") from None
    except httpx.TimeoutException:
        raise NotTold(f"no answer within {TIMEOUT:g} s") from None
    except httpx.ConnectError as error:
        raise NotTold(f"cannot be reached: {_words(error)}") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NotTold(f"the request failed: {type(error).__name__}") from None
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise NotTold(f"it answers {status}, a redirect, which is not followed", again=False)
    again = status in _PASSING or status >= 500
    raise NotTold(f"it answers {status}", again=again, after=_seconds(retry_after))


def _words(error: Exception) -> str:
    """The system's or TLS's words: `Connection refused`, `certificate has expired`."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return (cause.strerror if isinstance(cause, OSError) else None) or "no connection"


def _seconds(retry_after: str) -> float:
    return min(float(retry_after), _LONGEST_WAIT) if retry_after.isascii() and retry_after.isdigit() else 0.0
