"""Whether a column of values needs no writing: looked at together, a thousand cost as much as some by themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: What a part of a path may be made of without being written in another way.
PATH_PART = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-"
#: For fewer it costs what it saves.
_MANY = 30


class PlainColumn:
    """Texts of one line, of at most `most` characters, that match `pattern`. One that never goes back (`++`) is several
    times as quick.

    `ends`: what matches with these characters behind its last slash matches with any of them there, one at least. The
    links of a run are alike but for their ends.
    """

    def __init__(self, pattern: str, most: int, ends: str = "") -> None:
        self._most = most
        self._one = re.compile(pattern)
        self._lines = re.compile(f"(?>(?:{pattern})\\n)*+")
        self._ends = ends

    def all(self, texts: Sequence[str]) -> bool:
        """Whether all of them are such."""
        if max(map(len, texts), default=0) > self._most:
            return False
        if len(texts) > 1 and texts.count(texts[0]) == len(texts):
            texts = texts[:1]
        if self._ends and len(texts) > _MANY and self._differ_in_ends(texts):
            return True
        lines = "\n".join(texts) + "\n"
        return lines.count("\n") == len(texts) and self._lines.fullmatch(lines) is not None

    def _differ_in_ends(self, texts: Sequence[str]) -> bool:
        """Whether they are such, and begin alike: seen in half the time."""
        first, last = min(texts), max(texts)  # what these begin with, all between them do
        begin = first[: first.rfind("/") + 1]
        if first == begin or not last.startswith(begin) or self._one.fullmatch(begin + self._ends) is None:
            return False
        together = "".join(texts)
        others = set(begin).difference(self._ends)
        if not together.isascii() or together.encode().translate(None, f"{begin}{self._ends}".encode()):
            return False
        return all(together.count(other) == begin.count(other) * len(texts) for other in others)

    def others(self, texts: Sequence[str]) -> Sequence[int]:
        """The places of those that are not."""
        if self.all(texts):
            return ()
        match, most = self._one.fullmatch, self._most
        return [place for place, text in enumerate(texts) if match(text) is None or len(text) > most]

    def plain(self, text: str) -> bool:
        """Whether this one is."""
        return len(text) <= self._most and self._one.fullmatch(text) is not None
