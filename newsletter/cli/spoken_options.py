"""Options whose value is recorded as somebody's word, or names something: an empty one is a mistake, never consent."""

from __future__ import annotations

import typer

from newsletter.errors import UsageError

#: Characters of a list's name.
LONGEST_LIST = 100


def in_words(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    """The callback of an option that gives a reason or a source. Raises UsageError where it was given without words."""
    if _was_typed(context, parameter) and not any(one.isprintable() and not one.isspace() for one in value):
        hint = f'Say it, for it is recorded: {parameter.opts[0]} "asked by phone on 7 January".'
        raise UsageError(f"{parameter.opts[0]} was given without words", hint=hint)
    return value.strip()


def named_list(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """The callback of an option that names a list: its name, trimmed. Raises UsageError where that cannot be one."""
    if value is None or not _was_typed(context, parameter):
        return value
    option, name = parameter.opts[0], value.strip()
    if not name:
        raise UsageError(f"{option} was given without a name", hint="newsletter subscribers stats shows the lists.")
    if not name.isprintable():
        raise UsageError(f"{option}: a list's name has no control characters", hint="Such as --list weekly.")
    if len(name) > LONGEST_LIST:
        raise UsageError(
            f"{option}: a list's name has at most {LONGEST_LIST} characters", hint="Such as --list weekly."
        )
    return name


def _was_typed(context: typer.Context, parameter: typer.CallbackParam) -> bool:
    source = context.get_parameter_source(parameter.name or "")
    return source is not None and source.name == "COMMANDLINE"
