"""What the program's exit code says. The numbers are a contract with scripts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from newsletter import errors


class ExitCode(IntEnum):
    """How a command ended."""

    #: It did what it was told.
    OK = 0
    #: Something nobody thought of; a traceback tells what.
    UNEXPECTED = 1
    #: The command makes no sense as it was typed.
    USAGE = 2
    #: The configuration, an issue, a template or a list is wrong, or checks failed; nothing was sent.
    CHECKS = 3
    #: There is nothing to do.
    NOTHING_TO_DO = 4
    #: A guard refused; nothing was changed.
    REFUSED = 5
    #: The run ended, and some recipients are rejected, expired or unknown.
    INCOMPLETE = 6
    #: Not now; run the same command again.
    TEMPORARY = 75
    #: Interrupted; it can be resumed.
    INTERRUPTED = 130


_BY_CLASS: Mapping[type[BaseException], ExitCode] = MappingProxyType(
    {
        errors.ConfigError: ExitCode.CHECKS,
        errors.IssueError: ExitCode.CHECKS,
        errors.TemplateError: ExitCode.CHECKS,
        errors.AudienceError: ExitCode.CHECKS,
        errors.ChecksFailed: ExitCode.CHECKS,
        errors.OutputError: ExitCode.CHECKS,
        errors.UsageError: ExitCode.USAGE,
        errors.NothingToDo: ExitCode.NOTHING_TO_DO,
        errors.GuardRefused: ExitCode.REFUSED,
        errors.TemporaryError: ExitCode.TEMPORARY,
    }
)


def exit_code_of(error: errors.NewsletterError) -> ExitCode:
    """The exit code for an error, by the nearest of its classes."""
    return exit_code_of_class(type(error))


def exit_code_of_class(kind: type[BaseException]) -> ExitCode:
    """The exit code for errors of this class, by the nearest of its classes."""
    return next((_BY_CLASS[cls] for cls in kind.__mro__ if cls in _BY_CLASS), ExitCode.UNEXPECTED)
