"""`--links`: request each link of an issue and say which lead nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urldefrag, urlsplit

import httpx

from newsletter.issue.model import Issue
from newsletter.preflight.check import Rule
from newsletter.preflight.comparing import shortened
from newsletter.preflight.guarded_client import AddressRefused, HostUnknown, guarded_client
from newsletter.preflight.issue_texts import issue_images, issue_links
from newsletter.preflight.link_rules import LINK_BROKEN, LINK_FAILING, LINK_REFUSED, LINK_UNCONFIRMED
from newsletter.preflight.links import is_under, url_problem
from newsletter.preflight.model import Finding
from newsletter.preflight.page import HOLE_HOST, read_page
from newsletter.preflight.verdict import in_order
from newsletter.rendering.model import RenderedIssue

THREADS = 4
#: Seconds between two requests to the same host, which are never made at the same time.
PAUSE = 0.3
#: An issue with more links than this is requested in part, and a finding says so.
MOST_LINKS = 500

#: Answers that say "not to you" rather than "not there". 999 is what one large network tells programs.
_TURNED_AWAY = frozenset({401, 402, 403, 405, 406, 407, 418, 425, 429, 451, 999})
_GONE = frozenset({404, 410})


@dataclass(frozen=True, slots=True)
class Target:
    """One address to request, without its fragment, and the line where it first stands (0: in the template)."""

    url: str
    line: int


def targets(issue: Issue, rendered: RenderedIssue, *, own_site: str = "") -> tuple[Target, ...]:
    """Each web address once: links and images of the issue, then those of the template.

    Left out: addresses that cannot be read (`link-syntax` names them), those with a hole in them, and those under
    `own_site`, where the issue's own page is not yet published.
    """
    page = read_page(rendered.public_html)
    found = [(link.url, link.line) for link in issue_links(issue)]
    found += [(image.url, image.line) for image in issue_images(issue)]
    found += [(element.get("href") or "", 0) for element in page.all("a", "area")]
    found += [(element.get("src") or "", 0) for element in page.all("img")]
    lines: dict[str, int] = {}
    for url, line in found:
        is_web = url.lower().startswith(("http:", "https:")) and not url_problem(url)
        if is_web and HOLE_HOST not in url and not is_under(url, own_site):
            lines.setdefault(urldefrag(url).url, line)
    return tuple(Target(url, line) for url, line in lines.items())


def check_links(
    issue: Issue,
    rendered: RenderedIssue,
    *,
    client: httpx.Client | None = None,
    own_site: str = "",
    pause: float = PAUSE,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Finding, ...]:
    """Requests each link once, each host's one after the other, a few hosts at a time. Needs the network.

    `client` must refuse what is not public; without one, `guarded_client()` is made and closed. `progress` hears
    (done, of how many), from several threads.
    """
    everything = targets(issue, rendered, own_site=own_site)
    chosen = everything[:MOST_LINKS]
    by_host: dict[str, list[Target]] = {}
    for target in chosen:
        by_host.setdefault(urlsplit(target.url).hostname or "", []).append(target)
    findings: list[Finding] = []
    if len(everything) > MOST_LINKS:
        findings.append(
            LINK_UNCONFIRMED.finding(f"only the first {MOST_LINKS} of {len(everything)} links were requested")
        )
    ours = client or guarded_client()
    done = 0
    counting = Lock()

    def visit(of_host: list[Target]) -> list[Finding]:
        nonlocal done
        found: list[Finding] = []
        for number, target in enumerate(of_host):
            if number:
                time.sleep(pause)
            finding = request(ours, target)
            if finding:
                found.append(finding)
            with counting:  # so that no number is said twice
                done += 1
                number_done = done
            if progress:
                progress(number_done, len(chosen))
        return found

    try:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="link-check") as threads:
            for found in threads.map(visit, by_host.values()):
                findings += found
    finally:
        if client is None:
            ours.close()
    return in_order(findings)


def request(client: httpx.Client, target: Target) -> Finding | None:
    """What is wrong with one link: None if nothing is.

    HEAD first; where that is refused, fails or is answered with an error, GET, for many servers only know that. The
    body of a GET is not read.
    """
    status: int | None = None
    for method in ("HEAD", "GET"):
        try:
            with client.stream(method, target.url) as response:
                status = response.status_code
        except (AddressRefused, HostUnknown, httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
            # A second try would end the same way.
            return _failed(target, error)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if method == "GET":
                return _failed(target, error)
            continue
        if status < 400:
            return None
    assert status is not None
    return _answered(target, status)


def _answered(target: Target, status: int) -> Finding:
    said = f"{shortened(target.url, 80)} answers {status}"
    if status in _GONE:
        return LINK_BROKEN.finding(f"{said}: the page is not there", line=target.line)
    if status in _TURNED_AWAY:
        return LINK_UNCONFIRMED.finding(f"{said}: it turns programs away", line=target.line)
    return LINK_FAILING.finding(said, line=target.line)


_RULES: Mapping[type[Exception], tuple[Rule, str]] = {
    AddressRefused: (LINK_REFUSED, ""),
    HostUnknown: (LINK_BROKEN, ""),
    httpx.TooManyRedirects: (LINK_FAILING, "it redirects again and again"),
    httpx.UnsupportedProtocol: (LINK_FAILING, "it redirects to something that is no web page"),
    httpx.InvalidURL: (LINK_FAILING, "it, or a redirect of it, has no readable address"),
    httpx.TimeoutException: (LINK_FAILING, "no answer in time"),
}


def _failed(target: Target, error: Exception) -> Finding:
    rule, what = next((value for kind, value in _RULES.items() if isinstance(error, kind)), (LINK_FAILING, ""))
    said = what or str(error) or type(error).__name__
    return rule.finding(f"{shortened(target.url, 80)}: {said}", line=target.line)
