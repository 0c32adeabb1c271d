"""AES-SIV (RFC 5297) over many numbers at once.

`cryptography` seals one text a call, which for the links of a mail is a third of the work of making it. What is sealed
here has less than a block, so it needs two blocks of AES, and everything else of the scheme is the same for all: a
thousand numbers are two calls of AES over a thousand blocks. What comes out is, octet for octet, what
`AESSIV.encrypt` gives.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.cmac import CMAC

#: Octets of a block.
_BLOCK = 16
#: Two bits of each counter are cleared (section 2.5).
_COUNTER = bytes.fromhex("ffffffffffffffff7fffffff7fffffff")


class NumberSealer:
    """Seals numbers of `octets` octets, each with the text `rest` behind it, with a key of 64 octets, bound to one
    text. Number and rest are fewer than 16 octets. May be shared between threads.

    A block cipher without chaining (ECB) is the scheme's own building block here: the blocks that it is given are a
    MAC's and a counter's, never a text's.
    """

    def __init__(self, key: bytes, bound_to: bytes, *, octets: int = 8, rest: bytes = b"") -> None:
        half = len(key) // 2
        self._mac, self._counter = Cipher(AES(key[:half]), ECB()), Cipher(AES(key[half:]), ECB())  # noqa: S305 - see above
        self._octets = octets
        #: Octets that are sealed, and of what they become.
        self._content = octets + len(rest)
        self.sealed_octets = _BLOCK + self._content
        # behind the content, to the end of its block (RFC 5297, section 2.1: a one, then zeros)
        self._behind = (rest + b"\x80").ljust(_BLOCK - octets, b"\0")
        chained = _doubled(_doubled(_cmac(key[:half], bytes(_BLOCK))) ^ _number(_cmac(key[:half], bound_to)))
        subkey = _doubled(self._mac.encryptor().update(bytes(_BLOCK)))
        self._before_mac = (chained ^ subkey).to_bytes(_BLOCK, "big")

    def seal(self, numbers: Sequence[int]) -> bytes:
        """`sealed_octets` for each number, one behind the other. Raises OverflowError where one has no room."""
        octets, behind = self._octets, self._behind
        blocks = b"".join([number.to_bytes(octets, "big") + behind for number in numbers])
        size = len(blocks)
        plain = _number(blocks)
        masked = (plain ^ _number(self._before_mac * len(numbers))).to_bytes(size, "big")
        proofs = self._mac.encryptor().update(masked)
        counters = (_number(proofs) & _number(_COUNTER * len(numbers))).to_bytes(size, "big")
        hidden = (_number(self._counter.encryptor().update(counters)) ^ plain).to_bytes(size, "big")
        # put together octet by octet of all of them: that is quicker than one after the other
        sealed, step = bytearray(len(numbers) * self.sealed_octets), self.sealed_octets
        for place in range(_BLOCK):
            sealed[place::step] = proofs[place::_BLOCK]
        for place in range(self._content):
            sealed[_BLOCK + place :: step] = hidden[place::_BLOCK]
        return bytes(sealed)


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _cmac(key: bytes, text: bytes) -> bytes:
    """RFC 4493."""
    mac = CMAC(AES(key))
    mac.update(text)
    return mac.finalize()


def _doubled(block: bytes | int) -> int:
    """Twice the block, in the field of 2 to the 128 (RFC 5297, section 2.3)."""
    value = _number(block) if isinstance(block, bytes) else block
    shifted = value << 1
    return (shifted ^ 0x87) & ((1 << 128) - 1) if value >> 127 else shifted
