"""The files of deploy/ as the tests read them."""

from __future__ import annotations

import re
from pathlib import Path

from newsletter.settings.provider_model import SmtpProvider

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
#: The last two answers of an SMTP server, each awaited for so long: the first message of a window and its last.
DRAIN = 2 * SmtpProvider(kind="smtp").final_timeout.total_seconds()


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile: the word and what follows, in order."""
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def image_says(word: str) -> str:
    """The last instruction of this word."""
    return [rest for one, rest in instructions() if one == word][-1]


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)([a-z]*)", text)
    assert match, text
    return int(match[1]) * _SECONDS[match[2]]
