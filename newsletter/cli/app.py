"""The `newsletter` command: global options, the list of commands, and how errors become exit codes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from newsletter import __version__
from newsletter.cli.announced import Announced, AnnouncedCommands, made
from newsletter.cli.console import Console, ReaderGone
from newsletter.cli.context import Globals
from newsletter.cli.exit_codes import ExitCode, exit_code_of
from newsletter.errors import NewsletterError, UsageError

#: Every command in the order of the help: where it is, and the first paragraph of its own help.
_COMMANDS = {
    "init": ("projects:init", "Start a new project: config.toml, templates, a sample issue and a sample list."),
    "new": ("projects:new", "Write an issue file to fill; an existing one is left alone."),
    "check": ("checking:check", "Read an issue, render it, and list what is wrong with it."),
    "preview": (
        "previewing:preview",
        "Look at an issue: its mail on desktop and phone, its checks, its audience. Writes what a dry run writes.",
    ),
    "test": (
        "testing:send_test",
        "Send an issue to a few addresses, to be looked at: through the real provider, its subject marked [TEST].",
    ),
    "send": (
        "sending:send",
        "Send an issue to its audience, once. Asks for the recipient count first; --confirm gives it.",
    ),
    "approve": (
        "approving:approve",
        "Approve an issue as it is now. With require_approval = true nothing else goes out, by itself or by `send`.",
    ),
    "run": (
        "running:run",
        "Send newsletters by themselves, at their times, until it is told to end. What operators leave running.",
    ),
    "worker": (
        "working:worker",
        "Send batches of runs that others hand over, until SIGTERM: on as many machines as you like (PostgreSQL).",
    ),
    "pause": ("steering:pause", "Stop a run, whoever sends it. Calls that are out are finished; resume goes on."),
    "resume": (
        "steering:resume",
        "Send what is left of a run that was interrupted or paused, or a daemon planned. The issue must be the same.",
    ),
    "cancel": (
        "steering:cancel",
        "End a run: what did not go out does not, ever. Calls that are out still count. A terminal is asked first.",
    ),
    "resolve": (
        "steering:resolve",
        "List the recipients of whom nobody knows whether they got the issue, and settle them by your word.",
    ),
    "retry": (
        "steering:retry",
        "Open a run again for recipients who did not get it, until the next deadline; resume then sends to them.",
    ),
    "status": (
        "watching:status",
        "Show a run's balance sheet: what became of everybody in it, and what to do next.",
    ),
    "watch": (
        "watching:watch",
        "Look on while a run goes out, from any terminal; ends when nobody sends it any more. "
        "Ctrl-C stops looking only.",
    ),
    "history": (
        "watching:history",
        "List the runs with their balance sheets, the latest first; with --json one object a line, their number last.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look whether all is in place for a newsletter to go out, and say what to do where it is not. Changes nothing.",
    ),
    "web": (
        "serving:web",
        "Serve the public pages, what providers and programs post to, /healthz, /readyz and /metrics, until SIGTERM.",
    ),
    "subscribers": ("subscribers:app", "The people who get the mail."),
    "suppress": ("suppressing:app", "Addresses that must not be mailed."),
    "schedule": ("scheduling:app", "When newsletters go out by themselves."),
    "providers": ("provider_commands:app", "The services that take the mail."),
    "tokens": ("tokens:app", "Tokens of the API."),
    "webhooks": ("webhooks:app", "What providers post about mail that went out."),
    "bounces": ("bounces:app", "Mail that comes back: bounces and complaints."),
    "db": ("databases:app", "The database."),
    "config": ("configuration:app", "The configuration."),
}


class _Commands(AnnouncedCommands):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given | {"commands": {name: Announced(name, *one) for name, one in _COMMANDS.items()}})


app = typer.Typer(
    name="newsletter",
    cls=_Commands,
    help="The morning email, on time, once, to everyone who asked for it and to nobody else.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"newsletter {__version__}")  # noqa: T201 - the answer itself
        raise typer.Exit


@app.callback()
def global_options(
    context: typer.Context,
    config: Annotated[Path, typer.Option("-c", "--config", readable=False, help="The configuration file.")] = Path(
        "config.toml"
    ),
    newsletter: Annotated[
        str | None, typer.Option("-n", "--newsletter", help="Which newsletter; needed where there are several.")
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more, with tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress, no words beside the answer.")] = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("-V", "--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """The morning email, on time, once, to everyone who asked for it and to nobody else."""
    context.obj = Globals(config, newsletter, Console(quiet=quiet, verbose=verbose))


#: Global options, and whether a value follows. They may stand before or after the command.
_GLOBAL = {"-c": True, "--config": True, "-n": True, "--newsletter": True}
_GLOBAL |= {"-v": False, "--verbose": False, "-q": False, "--quiet": False, "-V": False, "--version": False}


def globals_first(arguments: list[str]) -> list[str]:
    """The same arguments with the global options in front, where Typer looks for them, and a `--json` before the
    command behind it; after `--` nothing moves."""
    moved: list[str] = []
    rest: list[str] = []
    behind: list[str] = []
    queue = iter(arguments)
    for argument in queue:
        name, equals, _ = argument.partition("=")
        if argument == "--":
            rest += [*behind, argument, *queue]
            behind = []
        elif argument == "--json" and not rest:
            behind = [argument]
        elif name in _GLOBAL and (bool(equals) <= _GLOBAL[name]):
            moved.append(argument)
            if _GLOBAL[name] and not equals:
                moved += [value for value in [next(queue, None)] if value is not None]
        else:
            rest.append(argument)
    return moved + rest + behind


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits with its code (`ExitCode`)."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show a character gets its number instead, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _leave_no_core_file()
    _seldom_collect_garbage()
    console = Console(json="--json" in given, verbose=bool({"-v", "--verbose"} & set(given)))
    with _ended_in_order():
        code = _run(given, console)
    sys.exit(code)


def _seldom_collect_garbage() -> None:
    """What a command loads stays, and what is left at its end goes with the process: to look through all of it for
    cycles, each time 700 objects are made and again at the end, takes a fifth of a short command's time."""
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)


def _leave_no_core_file() -> None:
    """A crash writes no memory to disk: keys and addresses are in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: what it began is undone, and it says so."""
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(given: list[str], console: Console) -> int:
    try:
        code = app(globals_first(given), prog_name="newsletter", standalone_mode=False)
    except ReaderGone:
        # the interpreter must not stumble over the closed pipe again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except NewsletterError as error:
        return _failed(error, console)
    except typer.TyperException as error:  # of the command line as it was typed
        message = error.format_message().replace(": Value error, ", ": ")  # typer's, of an enum
        if message.startswith("Usage: "):  # a group without a command: its help
            console.usage(message)
            return ExitCode.USAGE
        return _failed(UsageError(message, hint=f"{_asked(given)} --help lists what there is"), console)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    if code == ExitCode.INTERRUPTED:
        console.note("interrupted")
    return code if isinstance(code, int) else ExitCode.OK


def _asked(given: list[str]) -> str:
    """The command that was asked for, as far as it is one: `newsletter subscribers import`."""
    words = ["newsletter"]
    command: object = typer.main.get_command(app)
    for argument in globals_first(given):
        below = getattr(command, "commands", {}).get(argument)
        if below is not None:
            words.append(argument)
            command = made(below)
    return " ".join(words)


def _failed(error: NewsletterError, console: Console) -> int:
    if console.verbose:
        traceback.print_exc()
    code = exit_code_of(error)
    # stdout may be what cannot be written
    with contextlib.suppress(ReaderGone, NewsletterError):
        console.error(error, code)
    return code
