"""The `newsletter` command: global options, the list of commands, and how errors become exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from newsletter import __version__
from newsletter.cli import (
    approving,
    bounces,
    checking,
    configuration,
    databases,
    doctor,
    previewing,
    projects,
    provider_commands,
    running,
    scheduling,
    sending,
    serving,
    steering,
    subscribers,
    suppressing,
    testing,
    tokens,
    watching,
    webhooks,
)
from newsletter.cli.console import Console, ReaderGone
from newsletter.cli.context import Globals
from newsletter.cli.exit_codes import ExitCode, exit_code_of
from newsletter.errors import NewsletterError, UsageError

app = typer.Typer(
    name="newsletter",
    help="The morning email, on time, once, to everyone who asked for it and to nobody else.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(projects.init)
app.command("new")(projects.new)
app.command("check")(checking.check)
app.command("preview")(previewing.preview)
app.command("test")(testing.send_test)
app.command("send")(sending.send)
app.command("approve")(approving.approve)
app.command("run")(running.run)
app.command("pause")(steering.pause)
app.command("resume")(steering.resume)
app.command("cancel")(steering.cancel)
app.command("resolve")(steering.resolve)
app.command("retry")(steering.retry)
app.command("status")(watching.status)
app.command("watch")(watching.watch)
app.command("history")(watching.history)
app.command("doctor")(doctor.doctor)
app.command("web")(serving.web)
app.add_typer(subscribers.app, name="subscribers")
app.add_typer(suppressing.app, name="suppress")
app.add_typer(scheduling.app, name="schedule")
app.add_typer(provider_commands.app, name="providers")
app.add_typer(tokens.app, name="tokens")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(bounces.app, name="bounces")
app.add_typer(databases.app, name="db")
app.add_typer(configuration.app, name="config")


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
    """The same arguments with the global options in front, where Typer looks for them; after `--` nothing moves."""
    moved: list[str] = []
    rest: list[str] = []
    queue = iter(arguments)
    for argument in queue:
        name, equals, _ = argument.partition("=")
        if argument == "--":
            rest += [argument, *queue]
        elif name in _GLOBAL and (bool(equals) <= _GLOBAL[name]):
            moved.append(argument)
            if _GLOBAL[name] and not equals:
                moved += [value for value in [next(queue, None)] if value is not None]
        else:
            rest.append(argument)
    return moved + rest


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits with its code (`ExitCode`)."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # a terminal that cannot show a character gets its number instead, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _leave_no_core_file()
    console = Console(json="--json" in given, verbose=bool({"-v", "--verbose"} & set(given)))
    with _ended_in_order():
        code = _run(given, console)
    sys.exit(code)


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
            command = below
    return " ".join(words)


def _failed(error: NewsletterError, console: Console) -> int:
    if console.verbose:
        traceback.print_exc()
    code = exit_code_of(error)
    # stdout may be what cannot be written
    with contextlib.suppress(ReaderGone, NewsletterError):
        console.error(error, code)
    return code
