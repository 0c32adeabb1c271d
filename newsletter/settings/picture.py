"""Problems as a picture of the file, for a terminal or a log; plain text, no colour."""

from __future__ import annotations

import re
import unicodedata

from newsletter.errors import ConfigError, Problem
from newsletter.settings.masking import MASK

#: What a caret line stands under: a bare key, a quoted one, or any one character.
_POINTED_AT = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*'|.?")


def format_problems(error: ConfigError) -> str:
    r"""Every problem as file:line and key, the line, and carets with what is wrong; a blank line between them.

    config.toml:31  newsletters.daily-buzz.delivery.batch_sise
       31 | batch_sise = 500
          | ^^^^^^^^^^ unknown key `batch_sise`. Did you mean `batch_size`?
    """
    return "\n\n".join(_picture(problem) for problem in error.problems)


def _picture(problem: Problem) -> str:
    place = problem.place
    where = f"{place.path}:{place.line}" if place.line is not None else f"{place.path}"
    said = _joined(problem)
    # a stray variable is its own key
    heading = f"{where}  {problem.key}" if problem.key and problem.key not in where else where
    if not problem.excerpt or place.line is None:
        return f"{heading}\n   {said}"
    number = f"{place.line:>5}"
    gutter = " " * len(number)
    lines = [heading, f"{number} | {problem.excerpt.replace(chr(9), ' ')}"]
    if place.column is None:
        lines.append(f"{gutter} | {said}")
    else:
        column = _column(problem, place.column)
        pointed = _POINTED_AT.match(problem.excerpt, column - 1)
        width = max(1, _columns(pointed[0] if pointed else ""))
        lines.append(f"{gutter} | {' ' * _columns(problem.excerpt[: column - 1])}{'^' * width} {said}")
    return "\n".join(lines)


def _column(problem: Problem, column: int) -> int:
    """Where to point; a masked line is shorter, so the key is looked for on it."""
    masked_before = problem.excerpt.find(MASK)
    if not 0 <= masked_before < column - 1:
        return column
    name = re.escape(re.split(r"[.\[]", problem.key)[-1].strip('"'))
    found = re.search(rf"[\"']?{name}[\"']?[ \t]*=", problem.excerpt)
    return found.start() + 1 if found else masked_before + 1


def _joined(problem: Problem) -> str:
    return f"{problem.message}. {problem.suggestion}" if problem.suggestion else problem.message


def _columns(text: str) -> int:
    """Columns of a terminal: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )
