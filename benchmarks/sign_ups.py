"""Subscription bombing: thousands of requests for one address, from as many places, over HTTP. They must give one mail.

    .venv/bin/python benchmarks/sign_ups.py [--short] [--requests N]

Starts `newsletter web` as a process on SQLite with the provider `disk`, and asks for the same address over eight
connections, as a form and as JSON, with another client address each time (by a trusted proxy's header). Prints how many
a second were answered, and ends with 1 unless all got the same answer and one mail was written.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a file
from benchmarks.render import commit, processor
from benchmarks.web import served
from newsletter.project_files import copy_project

_CONNECTIONS = 8
_FORM = (b"email=anna%40example.com", "application/x-www-form-urlencoded")
_JSON = (b'{"email": "Anna@EXAMPLE.com"}', "application/json")
_WIDE = 'per_ip = "1000000/h"\nper_domain = "1000000/h"\nin_total = "1000000/h"'
_NARROW = 'per_ip = "20/h"\nper_domain = "500/h"\nin_total = "5000/h"'


def project_in(folder: Path) -> Path:
    """A project that trusts this machine to say whose request it is, and in which no quota is in the way."""
    copy_project(folder)
    config = (folder / "config.toml").read_text("utf-8")
    for old, new in (("trusted_proxies = []", 'trusted_proxies = ["127.0.0.1"]'), (_NARROW, _WIDE)):
        assert old in config
        config = config.replace(old, new)
    (folder / "config.toml").write_text(config, "utf-8")
    return folder


def asked(port: int, numbers: range) -> set[tuple[int, bytes]]:
    """The different answers to so many requests over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    answers = set()
    for number in numbers:
        body, kind = _FORM if number % 2 else _JSON
        headers = {"Content-Type": kind, "X-Forwarded-For": f"198.51.{number // 250 % 250}.{number % 250}"}
        connection.request("POST", "/subscribe/daily-buzz", body, headers)
        answer = connection.getresponse()
        answers.add((answer.status, answer.read()))
    connection.close()
    return answers


def mails(project: Path) -> int:
    """How many were written, once no more come."""
    folder = project / "out" / "confirmations"
    until = time.monotonic() + 10
    while not list(folder.glob("*.eml")) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1)
    return len(list(folder.glob("*.eml")))


def main() -> int:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="enough to see that it still runs")
    parser.add_argument("--requests", type=int, default=3_000)
    given = parser.parse_args()
    count = 300 if given.short else given.requests
    with tempfile.TemporaryDirectory() as folder:
        project = project_in(Path(folder) / "project")
        with served(project) as port:
            began = time.perf_counter()
            shares = [range(place, count, _CONNECTIONS) for place in range(_CONNECTIONS)]
            with ThreadPoolExecutor(_CONNECTIONS) as threads:
                answers = set().union(*threads.map(lambda share: asked(port, share), shares))
            seconds = time.perf_counter() - began
            written = mails(project)
    statuses = sorted(status for status, _ in answers)
    print(f"sign-ups for one address, {processor()}, {commit()}")
    print(f"{count:,} requests, {count / seconds:,.0f}/s, answers {json.dumps(statuses)}; {written} mail")
    return 0 if statuses == [200, 202] and written == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
