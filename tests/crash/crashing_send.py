"""The command in a process that does itself harm: `python crashing_send.py --at commit-after:3 -- send 2026-01-07 …`

It wraps what it needs (`kill_steps`), takes a safety out where that is asked for (`mutations`), and runs the ordinary
command. Starting Python and the libraries takes most of a second, so there is another way: with `--serve` it loads them
once, and forks a process for each request, a line of JSON on stdin; none of its own threads are running then. It
answers in lines of JSON: `pid`, `began` (the process plans a run, or takes one in hand), `endured` (it could not write
to the ledger, and tries again) and `ended`. An ended process is there, as a zombie, until the next request: a signal
sent to it meets nobody else.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

import newsletter


@dataclass(frozen=True)
class Request:
    """A command, and what happens to it.

    `at` are orders of `kill_steps`, `mutate` names of `mutations`; `change` sets constants of the product
    (`newsletter.store.senders:LEASE` → seconds); `host` is the machine that others see this process on; `file_limit`:
    no file grows beyond so many bytes; `claims_file` gets a line for each exchange that granted claims; `output` is a
    file that gets stdout and stderr.
    """

    folder: str
    arguments: list[str]
    at: list[str] = field(default_factory=list)
    mutate: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    change: Mapping[str, float | str] = field(default_factory=dict)
    host: str = ""
    file_limit: int = 0
    claims_file: str = ""
    output: str = ""

    def line(self) -> bytes:
        """As the server reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"


def load_everything() -> None:
    """Imports every module that a command may import later."""
    for module in pkgutil.walk_packages(newsletter.__path__, "newsletter."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("rich.progress", "rich.live", "mjml", "premailer", "psycopg", "sqlalchemy.dialects.sqlite",
                 "sqlalchemy.dialects.postgresql.psycopg", "encodings.idna"):  # fmt: skip
        importlib.import_module(name)


def prepare_once() -> None:
    """Prepares an issue, and throws it away: what the libraries only build when they are used is there then."""
    from newsletter.cli.app import main
    from newsletter.project_files import copy_project

    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nothing:
        copy_project(Path(folder) / "project")
        kept = Path.cwd()
        os.chdir(Path(folder) / "project")
        try:
            with redirect_stdout(nothing), redirect_stderr(nothing), suppress(SystemExit):
                main(["-q", "check", "2026-01-07"])
        finally:
            os.chdir(kept)


def run(request: Request, report: int) -> None:
    """Becomes the sender; never returns."""
    from kill_steps import Order, Steps, install
    from mutations import MUTATIONS
    from sending_watch import change_constant, note_claims, pose_as, set_file_limit, tell_what_it_endures

    from newsletter.cli.app import main

    os.chdir(request.folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEWSLETTER")}
    os.environ.clear()
    os.environ.update(kept | request.environment)
    install(Steps([Order.parse(one) for one in request.at]), lambda: _say(report, began=True))
    tell_what_it_endures(lambda: _say(report, endured=True))
    for name in request.mutate:
        MUTATIONS[name]()
    # of large exchanges alone the next is read ahead; here of each
    change_constant("newsletter.store.foresight:_WORTH_IT", 1)
    for name, value in request.change.items():
        change_constant(name, value)
    if request.host:
        pose_as(request.host)
    if request.claims_file:
        note_claims(Path(request.claims_file))
    if request.file_limit:
        set_file_limit(request.file_limit)
    main(request.arguments)


def serve() -> None:
    """Forks a sender for each request until stdin ends. Returns in none of the senders."""
    report = os.dup(1)
    load_everything()
    prepare_once()
    import kill_steps  # noqa: F401 - forked senders find them loaded
    import mutations  # noqa: F401
    import sending_watch  # noqa: F401

    # else each fork copies what the collector touches
    gc.collect()
    gc.freeze()
    _say(report, ready=True)
    child = 0
    while line := sys.stdin.buffer.readline():
        if child:
            os.waitpid(child, 0)
        request = Request(**json.loads(line))
        child = os.fork()
        if not child:
            _redirect(request.output)
            _run_and_leave(request, report)
        _say(report, pid=child)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        killed = ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        _say(report, ended=-ended.si_status if killed else ended.si_status)


def _run_and_leave(request: Request, report: int) -> NoReturn:
    """As a process ends, without taking the libraries apart, which takes longer than many a command."""
    code = 1
    try:
        run(request, report)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(report: int, **words: object) -> None:
    os.write(report, json.dumps(words).encode() + b"\n")


def _redirect(output: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    file = os.open(output or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdin = os.fdopen(0, closefd=False)


def main(arguments: list[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="The newsletter command, in a process that does itself harm.")
    parser.add_argument("--serve", action="store_true", help="fork a sender for each line of JSON")
    parser.add_argument("--at", action="append", default=[], metavar="STEP:N[=ACTION]")
    parser.add_argument("--mutate", action="append", default=[])
    parser.add_argument("--host", default="")
    parser.add_argument("command", nargs="*")
    given = parser.parse_args(arguments)
    if given.serve:
        serve()
        return
    own = {name: value for name, value in os.environ.items() if name.startswith("NEWSLETTER")}
    request = Request(str(Path.cwd()), given.command, given.at, given.mutate, own, host=given.host)
    run(request, os.open(os.devnull, os.O_WRONLY))


if __name__ == "__main__":
    main()
