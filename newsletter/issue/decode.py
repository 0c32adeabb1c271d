"""The bytes of an issue file → its lines, and the white space rules that every line obeys."""

from __future__ import annotations

import re

from newsletter.errors import IssueError, Place

#: A file larger than this is not read (bytes). Gmail clips a mail at about 102 KB; a real issue is about 12 KB.
MAX_BYTES = 2_000_000
#: Blank lines included; a real issue has about a hundred.
MAX_LINES = 100_000

_TEXT_HINT = "An issue is a plain text file. Save it as text in UTF-8 and try again."
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
#: Control characters (C0 but for tab and line ends, DEL, C1) and the two code points that are never characters.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")

#: What may stand at the edge of a line and say nothing: all white space, and the zero-width marks of copy and paste.
_EDGE = (
    " \t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff"
)
#: A run that becomes one blank. Non-breaking spaces stay: they are typography.
_RUN = re.compile("[ \t\r\n\u2028\u2029]+")
#: A line of nothing but these looks blank: white space, format characters, and letters that are drawn as nothing.
_INVISIBLE = (
    r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
_BLANK = re.compile(f"[{_INVISIBLE}]*")
#: The same without white space: dropped where names are compared.
UNSEEN = re.compile(f"[{_INVISIBLE[2:]}]")


def clean(line: str) -> str:
    """The line without what says nothing at its edges; runs of blanks and tabs as one; "" if it looks blank."""
    if not line or _BLANK.fullmatch(line):
        return ""
    return _RUN.sub(" ", line).strip(_EDGE)


def check_size(size: int, source: str) -> None:
    """Refuse a file of more than `MAX_BYTES`."""
    if size > MAX_BYTES:
        raise IssueError(
            f"the file is larger than {MAX_BYTES:,} bytes; an issue is text of a few kilobytes",
            place=Place(source),
            hint="Is this the right file? Pictures belong on a web server and are named by their https address.",
        )


def decode_lines(data: bytes, source: str) -> tuple[str, ...]:
    """UTF-8 with or without BOM, line ends LF, CRLF or CR → lines without their ends.

    Raises IssueError with the line of the first byte that is not UTF-8 text.
    """
    check_size(len(data), source)
    if data.startswith(_UTF16_MARKS):
        raise IssueError("the file is UTF-16, not UTF-8", place=Place(source, 1), hint=_TEXT_HINT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec counts from behind the BOM it has taken off: error.object is what it looked at.
        line = len(_split(error.object[: error.start].decode("utf-8")))
        if b"\x00" in data:
            raise _not_text("\x00", _line_of(data.decode("latin-1"), "\x00"), source) from None
        raise IssueError(
            f"byte 0x{error.object[error.start]:02X} is not UTF-8 text",
            place=Place(source, line),
            hint="Save the file in UTF-8 (it may be in Windows-1252 or another old encoding) and try again.",
        ) from None
    found = _CONTROL.search(text)
    if found:
        raise _not_text(found.group(), len(_split(text[: found.start()])), source)
    lines = tuple(_split(text))
    if len(lines) > MAX_LINES:
        raise IssueError(f"the file has more than {MAX_LINES:,} lines", place=Place(source, MAX_LINES), hint=_TEXT_HINT)
    return lines


def _not_text(character: str, line: int, source: str) -> IssueError:
    return IssueError(
        f"control character U+{ord(character):04X}: is this a text file?", place=Place(source, line), hint=_TEXT_HINT
    )


def _line_of(text: str, character: str) -> int:
    return len(_split(text[: text.index(character)]))


def _split(text: str) -> list[str]:
    # Not str.splitlines: it also splits at U+2028 and the like, and no editor counts those as lines.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
