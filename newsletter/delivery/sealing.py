"""AES-SIV (RFC 5297) over many numbers at once.

`cryptography` seals one text a call, which for the links of a mail is a third of the work of making it. Eight octets
need two blocks of AES each, and everything else of the scheme is the same for all of them: so a thousand numbers are
two calls of AES over a thousand blocks. What comes out is, octet for octet, what `AESSIV.encrypt` gives.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.cmac import CMAC

#: Octets of a block, of a number, and of what a number becomes.
_BLOCK = 16
_NUMBER = 8
SEALED_BYTES = _BLOCK + _NUMBER
#: Behind a number, to the end of its block (RFC 5297, section 2.1: a one, then zeros).
_PADDING = b"\x80" + bytes(_BLOCK - _NUMBER - 1)
#: Two bits of each counter are cleared (section 2.5).
_COUNTER = bytes.fromhex("ffffffffffffffff7fffffff7fffffff")


class NumberSealer:
    """Seals numbers with a key of 64 octets, bound to one text. May be shared between threads.

    A block cipher without chaining (ECB) is the scheme's own building block here: the blocks that it is given are a
    MAC's and a counter's, never a text's.
    """

    def __init__(self, key: bytes, bound_to: bytes) -> None:
        half = len(key) // 2
        self._mac, self._counter = Cipher(AES(key[:half]), ECB()), Cipher(AES(key[half:]), ECB())  # noqa: S305 - see above
        chained = _doubled(_doubled(_cmac(key[:half], bytes(_BLOCK))) ^ _number(_cmac(key[:half], bound_to)))
        subkey = _doubled(self._mac.encryptor().update(bytes(_BLOCK)))
        self._before_mac = (chained ^ subkey).to_bytes(_BLOCK, "big")

    def seal(self, numbers: Sequence[int]) -> list[bytes]:
        """24 octets for each number, in their order. Raises OverflowError where one has no room in eight."""
        blocks = b"".join([number.to_bytes(_NUMBER, "big") + _PADDING for number in numbers])
        size = len(blocks)
        plain = _number(blocks)
        masked = (plain ^ _number(self._before_mac * len(numbers))).to_bytes(size, "big")
        proofs = self._mac.encryptor().update(masked)
        counters = (_number(proofs) & _number(_COUNTER * len(numbers))).to_bytes(size, "big")
        hidden = (_number(self._counter.encryptor().update(counters)) ^ plain).to_bytes(size, "big")
        return [proofs[at : at + _BLOCK] + hidden[at : at + _NUMBER] for at in range(0, size, _BLOCK)]


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
