"""Did you mean …? The nearest of the words that would have been right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, right: Iterable[str]) -> str | None:
    """The word of `right` most like `word`, compared without case and with `-` as `_`; None if none is alike."""
    folded = {_fold(one): one for one in right}
    found = difflib.get_close_matches(_fold(word), sorted(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(word: str, right: Iterable[str]) -> str:
    """A sentence that names the nearest right word, or nothing."""
    found = nearest(word, right)
    return f"Did you mean `{found}`?" if found else ""


def _fold(word: str) -> str:
    return word.casefold().replace("-", "_")
