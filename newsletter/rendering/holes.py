"""Holes: where a recipient's values go. Placeholders mark them through the render chain; filling comes after it.

A placeholder is `z` + 8 hex digits of this render + the letter of its context + 3 digits + `z`. Only `[0-9a-z]`
survives MJML, CSS inlining, URL handling and text conversion unchanged. One regex pass splits the finished text;
values are never looked at again, so a subscriber whose name looks like a placeholder is never expanded.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from itertools import count

from newsletter.errors import TemplateError
from newsletter.rendering.escaping import escape_value
from newsletter.rendering.model import Hole, HoleContext, Holed, HoleValues

__all__ = ["Placeholders", "escape_value", "fill", "fresh_nonce", "missing_value"]

_NONCE = re.compile(r"[0-9a-f]{8}")
_MOST_HOLES = 1000


def fresh_nonce(seed: bytes, *texts: str) -> str:
    """Eight hex digits that follow from `seed` alone, and occur in none of `texts` in either case.

    `texts` is all that the render takes in (issue and templates): an editor may have pasted an earlier mail's source.
    """
    haystacks = [text.lower() for text in texts]
    for attempt in count():
        nonce = hashlib.sha256(seed + attempt.to_bytes(4, "big")).hexdigest()[:8]
        if not any(nonce in haystack for haystack in haystacks):
            return nonce
    raise AssertionError("unreachable: there are more nonces than texts can hold")


class Placeholders:
    """The placeholders of one render: issues them to templates, and finds them again in what comes out.

    `nonce` must not occur in the content; `fresh_nonce` gives one. ValueError if it is not eight hex digits.
    """

    def __init__(self, nonce: str) -> None:
        if not _NONCE.fullmatch(nonce):
            raise ValueError(f"a nonce is 8 hex digits, not {nonce!r}")
        self._prefix = f"z{nonce}"
        letters = "".join(HoleContext)
        self._pattern = re.compile(f"({self._prefix}[{letters}][0-9]{{3}}z)")
        self._damaged = re.compile(self._prefix, re.IGNORECASE)
        self._issued: dict[Hole, str] = {}
        self._holes: dict[str, Hole] = {}

    def placeholder(self, name: str, context: HoleContext) -> str:
        """What stands for the value `name` in this context; the same each time it is asked for."""
        hole = Hole(name, context)
        known = self._issued.get(hole)
        if known is not None:
            return known
        if len(self._issued) == _MOST_HOLES:
            raise TemplateError(
                f"the template asks for more than {_MOST_HOLES} different holes, the last for {name!r}",
                hint="print subscriber values by their declared names, not inside a loop over generated names",
            )
        placeholder = f"{self._prefix}{context.value}{len(self._issued):03d}z"
        self._issued[hole] = placeholder
        self._holes[placeholder] = hole
        return placeholder

    def split(self, text: str) -> Holed:
        """The text cut at its placeholders, in one pass.

        Raises TemplateError for a placeholder of this render that was never issued, and for a damaged one.
        """
        pieces = self._pattern.split(text)
        static, found = pieces[::2], pieces[1::2]
        for placeholder in found:
            if placeholder not in self._holes:
                raise TemplateError(
                    f"the rendered text holds the placeholder {placeholder}, which was never issued",
                    hint="a filter changed a placeholder, or text of another render was pasted into this one",
                )
        for piece in static:
            damaged = self._damaged.search(piece)
            if damaged:
                around = piece[damaged.start() : damaged.start() + 24]
                raise TemplateError(
                    f"a placeholder was damaged on its way through the template: {around!r}",
                    hint="print a subscriber's value as it is: no upper, truncate, wordwrap or slicing",
                )
        return Holed(static=tuple(static), holes=tuple(self._holes[placeholder] for placeholder in found))

    def count(self, text: str) -> Counter[str]:
        """How often each placeholder stands in the text; equal before and after a step that must lose nothing."""
        return Counter(self._pattern.findall(text))


def fill(holed: Holed, values: HoleValues) -> str:
    """The text with each hole filled by its value, escaped for its context.

    Raises TemplateError, which names the hole, where a value is missing.
    """
    parts = [holed.static[0]]
    filled: dict[Hole, str] = {}
    for hole, static in zip(holed.holes, holed.static[1:], strict=True):
        text = filled.get(hole)
        if text is None:
            if hole.name not in values:
                raise missing_value(hole.name, values)
            text = filled[hole] = escape_value(values[hole.name], hole.context)
        parts += (text, static)
    return "".join(parts)


def missing_value(name: str, values: Iterable[str]) -> TemplateError:
    """The error for a hole that no value fills."""
    known = ", ".join(sorted(values)) or "none"
    return TemplateError(
        f"the template has a hole {name!r}, and this recipient has no value for it",
        hint=f"values there are: {known}. Give the column to every subscriber, or take the hole out of the template",
    )
