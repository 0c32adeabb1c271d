"""The lines of a text file of unknown encoding and any size, some at a time."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from newsletter.errors import AudienceError, Place

#: No line of a list of people is longer (in characters); a longer one lost its line breaks, or is none of a list.
LONGEST_LINE = 100_000

#: Characters that are read at a time.
_BLOCK = 1 << 15

#: A byte that is not UTF-8 comes out of `surrogateescape` as U+DC00 and its value.
_ESCAPED = re.compile("[\udc80-\udcff]")
#: What Windows-1252 makes of such a byte. Five bytes have no meaning in it.
_WINDOWS = {0xDC00 + byte: bytes([byte]).decode("cp1252", errors="replace") for byte in range(0x80, 0x100)}


class TextLines:
    """The lines of `file`, once, with their line ends (LF, CRLF or CR); little of it is in memory at a time.

    UTF-8 with or without a byte order mark, UTF-16 with one. Bytes that are not UTF-8 are read as Windows-1252, the
    encoding of spreadsheets in the West, one by one: so files that were pasted together from both come out right.
    `first_foreign` is the number of the first line where that happened, `foreign` how many there were.

    Of a line of more than LONGEST_LINE characters the first LONGEST_LINE + 1 are handed on and the others skipped
    (`cut`: the number of the first such line). A first line of that length is an AudienceError: this is no list.
    """

    def __init__(self, file: BinaryIO, shown: str) -> None:
        self._file = file
        self._shown = shown
        self.foreign = 0
        self.first_foreign: int | None = None
        self.cut: int | None = None

    def __iter__(self) -> Iterator[str]:
        for lines in self.blocks():
            yield from lines

    def blocks(self) -> Iterator[list[str]]:
        """The lines, as many at a time as a block of the file holds; at least one. One that was cut comes alone."""
        number, rest = 0, ""
        for text in self._blocks():
            # a block of "" is the end; elsewhere a line may go on in the next block, and one that ends in CR, with LF
            lines = io.StringIO(rest + text, newline="").readlines()
            rest = lines.pop() if text and lines and lines[-1][-1] != "\n" else ""
            # only the first can be longer than a block
            if len(lines[0] if lines else rest) > LONGEST_LINE:
                self.cut = self.cut or number + 1
                if not number:
                    raise self._no_list()
                if lines:
                    yield self._mended([lines.pop(0)[: LONGEST_LINE + 1]], number)
                    number += 1
                else:
                    rest = rest[: LONGEST_LINE + 1] + ("\r" if rest[-1] == "\r" else "")
            if lines:
                yield self._mended(lines, number)
            number += len(lines)

    def _blocks(self) -> Iterator[str]:
        """The text, without its byte order mark, and an empty block at the end."""
        decoded = self._decoded()
        try:
            yield decoded.read(_BLOCK).removeprefix("\ufeff")
            while text := decoded.read(_BLOCK):
                yield text
        except OSError as error:
            raise AudienceError(f"cannot be read: {error.strerror}", place=Place(self._shown)) from None
        yield ""

    def _mended(self, lines: list[str], number: int) -> list[str]:
        """The lines behind the `number` of those before, with what is not UTF-8 as Windows-1252."""
        try:
            "".join(lines).encode()  # five times as fast as to look for what cannot be
        except UnicodeEncodeError:
            pass
        else:
            return lines
        for at, line in enumerate(lines):
            if _ESCAPED.search(line):
                lines[at] = line.translate(_WINDOWS)
                self.foreign += 1
                self.first_foreign = self.first_foreign or number + at + 1
        return lines

    def _decoded(self) -> io.TextIOWrapper:
        mark = self._file.read(3)
        if mark[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            encoding = "utf-16-le" if mark[:2] == codecs.BOM_UTF16_LE else "utf-16-be"
            return _text(_Rejoined(mark[2:], self._file), encoding, errors="replace")
        if mark == codecs.BOM_UTF8:
            mark = b""
        return _text(_Rejoined(mark, self._file), "utf-8", errors="surrogateescape")

    def _no_list(self) -> AudienceError:
        return AudienceError(
            f"a line of more than {LONGEST_LINE:,} characters",
            place=Place(self._shown, 1),
            hint="this is no CSV file of people: it has no line breaks, or lost them on its way",
        )


def _text(file: _Rejoined, encoding: str, *, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(file, 1 << 16), encoding=encoding, errors=errors, newline="")


class _Rejoined(io.RawIOBase):
    """A file whose first bytes were read already, to look at them; a pipe cannot be wound back."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:  # a type for buffers comes with Python 3.12
        """As io.RawIOBase has it; the file is the caller's to close."""
        room = memoryview(buffer)
        data = self._head or self._rest.read(len(room))
        self._head = b""
        room[: len(data)] = data
        return len(data)
