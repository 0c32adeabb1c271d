"""Whether a column of values needs no writing: looked at together, a thousand cost as much as some by themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence


class PlainColumn:
    """Texts of one line, of at most `most` characters, that match `pattern`. One that never goes back (`++`) is several
    times as quick."""

    def __init__(self, pattern: str, most: int) -> None:
        self._most = most
        self._one = re.compile(pattern)
        self._lines = re.compile(f"(?>(?:{pattern})\\n)*+")

    def all(self, texts: Sequence[str]) -> bool:
        """Whether all of them are such."""
        if max(map(len, texts), default=0) > self._most:
            return False
        if len(texts) > 1 and texts.count(texts[0]) == len(texts):
            texts = texts[:1]
        lines = "\n".join(texts) + "\n"
        return lines.count("\n") == len(texts) and self._lines.fullmatch(lines) is not None

    def others(self, texts: Sequence[str]) -> Sequence[int]:
        """The places of those that are not."""
        if self.all(texts):
            return ()
        match, most = self._one.fullmatch, self._most
        return [place for place, text in enumerate(texts) if match(text) is None or len(text) > most]

    def plain(self, text: str) -> bool:
        """Whether this one is."""
        return len(text) <= self._most and self._one.fullmatch(text) is not None
