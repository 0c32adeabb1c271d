"""What a DKIM signature costs, by our signer, by dkimpy, and by `cryptography` alone, in one run on one machine.

    python benchmarks/dkim.py [--short] [--issue FILE]

The messages are those of benchmarks/render.py: one issue, every recipient with values of their own. Before the clock
starts, dkimpy verifies what both signers made, and finds that a changed message is not what was signed. All that is
timed is timed in every round, one after the other, so that a busy machine slows down all of it. `cryptography` lets
other threads run while it signs; what two threads gain shows only where the machine has two cores to spare.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

ROOT = Path(__file__).resolve().parents[1]
# Run as a file, its own folder is looked through first, and `dkim` would be this file in place of dkimpy.
sys.path[:1] = [str(ROOT), str(ROOT / "tests")]

from servers.dkim_verifying import dkim, pem, valid  # noqa: E402 - see above

from benchmarks.render import LETTERHEAD, PUBLICATION, SECTIONS, commit, processor, readers  # noqa: E402
from newsletter.issue.parse import parse_issue  # noqa: E402
from newsletter.providers.dkim import SIGNED, DkimSigner  # noqa: E402
from newsletter.rendering.mime import HEADER_PIECES, MessageEncoder  # noqa: E402
from newsletter.rendering.render import Renderer  # noqa: E402
from newsletter.rendering.template_folder import find_template  # noqa: E402

#: CPU seconds per 1,000 messages that are the most our signer may take.
TARGETS = {"RSA-2048": 0.6, "Ed25519": 0.2}
#: Where tests/servers/dkim_verifying.py has the public key.
SELECTOR, DOMAIN = "s1", "news.example.com"

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Letter:
    """One message: its header and its body in pieces, and the whole."""

    header: Sequence[bytes]
    body: Sequence[bytes]
    whole: bytes


class _SigningKey:
    """Ed25519 for dkimpy, which would take it from PyNaCl: `encoded` is the 32 octets in base64."""

    def __init__(self, encoded: bytes, encoder: object) -> None:  # noqa: ARG002 - as it is called
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(encoded))

    def sign(self, octets: bytes) -> SimpleNamespace:
        return SimpleNamespace(signature=self._key.sign(octets))


def letters(issue: Path, count: int) -> list[Letter]:
    """The issue as `count` recipients get it."""
    parsed = parse_issue(issue.read_bytes(), source=issue.name, sections=SECTIONS)
    rendered = Renderer(find_template("digest", [ROOT / "templates"]), PUBLICATION).render(parsed)
    encoder = MessageEncoder(rendered, LETTERHEAD)
    made = []
    for reader in readers(count):
        pieces = encoder.pieces(
            to_address=reader.address,
            to_name=reader.name,
            message_id=reader.message_id,
            unsubscribe_url=reader.unsubscribe_url,
            values=reader.values,
        )
        made.append(Letter(pieces[:HEADER_PIECES], pieces[HEADER_PIECES:], b"".join(pieces)))
    return made


def by_dkimpy(key: PrivateKey) -> Callable[[Letter], bytes]:
    """dkimpy's signature over the same fields."""
    if isinstance(key, rsa.RSAPrivateKey):
        secret, algorithm = pem(key).encode(), b"rsa-sha256"
    else:
        secret, algorithm = base64.b64encode(key.private_bytes_raw()), b"ed25519-sha256"
    options = {
        "canonicalize": (b"relaxed", b"relaxed"),
        "signature_algorithm": algorithm,
        "include_headers": [name for name in SIGNED for _ in range(2)],
    }
    selector, domain = SELECTOR.encode(), DOMAIN.encode()
    return lambda letter: bytes(dkim.sign(letter.whole, selector, domain, secret, **options))


def bare(key: PrivateKey) -> Callable[[Letter], bytes]:
    """A signature of `cryptography` over octets that are ready."""
    covered, padding, algorithm = b"x" * 1_000, PKCS1v15(), SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda _: key.sign(covered, padding, algorithm)
    return lambda _: key.sign(covered[:32])


def behind_the_start(made: Sequence[Letter]) -> list[bytes]:
    """What of each body comes behind the first value of a recipient's own: whoever signs must hash it."""
    bodies = [letter.body for letter in made]
    same = next(at for at, pieces in enumerate(zip(*bodies, strict=True)) if len(set(pieces)) > 1)
    return [b"".join(body[same:]) for body in bodies]


def cpu(work: Callable[[Letter], object], made: Sequence[Letter]) -> float:
    """CPU seconds per 1,000 messages, of this thread."""
    start = time.thread_time()
    for letter in made:
        work(letter)
    return (time.thread_time() - start) / len(made) * 1_000


def speed(work: Callable[[Letter], object], made: Sequence[Letter], threads: int) -> float:
    """Messages a second of so many threads together, each with its share of them."""
    ready = threading.Barrier(threads + 1)

    def share(own: Sequence[Letter]) -> None:
        ready.wait()
        for letter in own:
            work(letter)

    workers = [threading.Thread(target=share, args=(made[at::threads],)) for at in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return len(made) / (time.perf_counter() - start)


def fault_of(signing: Mapping[str, Callable[[Letter], bytes]], made: Sequence[Letter], key: PrivateKey) -> str:
    """What is wrong with the signatures that are to be timed; '' where nothing is."""
    for name, sign in signing.items():
        for letter in made:
            signed = sign(letter) + letter.whole
            if not valid(signed, key):
                return f"a signature of {name} does not hold"
            if valid(signed.replace(b"</html>", b"</HTML>"), key):
                return f"a signature of {name} holds for another message"
    return ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times DKIM signatures.")
    parser.add_argument("--short", action="store_true", help="a second or two, for CI; coarser figures")
    parser.add_argument("--issue", type=Path, default=ROOT / "issues" / "2026-01-07.txt", help="the issue to sign")
    options = parser.parse_args(arguments)
    rounds, few = (3, 5) if options.short else (7, 40)
    made = letters(options.issue, 200 if options.short else 1_000)
    rests = behind_the_start(made)
    dkim.nacl.signing.SigningKey = _SigningKey
    keys: dict[str, PrivateKey] = {
        "RSA-2048": rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    found: dict[str, list[float]] = {}

    def note(label: str, figure: float) -> None:
        found.setdefault(label, []).append(figure)

    for name, key in keys.items():
        signer = DkimSigner(pem(key), selector=SELECTOR, domain=DOMAIN)
        ours: Callable[[Letter], bytes] = partial(_sign, signer)
        theirs = by_dkimpy(key)
        if fault := fault_of({"ours": ours, "dkimpy": theirs}, made[:10], key):
            print(f"{name}: {fault}; nothing was timed", file=sys.stderr)
            return 1
        for _ in range(rounds):
            note(f"ours {name}", cpu(ours, made))
            note(f"bare {name}", cpu(bare(key), made))
            note(f"dkimpy {name}", cpu(theirs, made[:few]))
            note(f"threads {name}", speed(ours, made, 2) / speed(ours, made, 1))
            note(f"bare threads {name}", speed(bare(key), made, 2) / speed(bare(key), made, 1))
    bodies, turn = [b"".join(letter.body) for letter in made], iter(range(10**9))
    for _ in range(rounds):
        note("body", cpu(lambda _: hashlib.sha256(bodies[next(turn) % len(bodies)]).digest(), made))
        note("rest", cpu(lambda _: hashlib.sha256(rests[next(turn) % len(rests)]).digest(), made))

    median = {label: statistics.median(figures) for label, figures in found.items()}
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(
        f"issue {options.issue.name}: a whole message {len(made[0].whole):,} bytes, its body {len(bodies[0]):,}, "
        f"of it behind the first value {len(rests[0]):,}"
    )
    print(f"{rounds} rounds of {len(made):,} messages, of dkimpy {few}; CPU seconds per 1,000 messages, median")
    print(f"  {'':<52}{''.join(f'{name:>12}' for name in keys)}")
    rows: Sequence[tuple[str, Callable[[str], float], int]] = (
        ("our signer", lambda name: median[f"ours {name}"], 3),
        ("  target: at most", TARGETS.__getitem__, 3),
        ("the bare signature of `cryptography`", lambda name: median[f"bare {name}"], 3),
        ("SHA-256 of a body", lambda _: median["body"], 3),
        ("SHA-256 of what comes behind the first value", lambda _: median["rest"], 3),
        ("dkimpy", lambda name: median[f"dkimpy {name}"], 3),
        ("times cheaper than dkimpy", lambda name: median[f"dkimpy {name}"] / median[f"ours {name}"], 1),
        ("times the bare signature", lambda name: median[f"ours {name}"] / median[f"bare {name}"], 2),
        ("two threads against one, messages a second: ours", lambda name: median[f"threads {name}"], 2),
        ("  the bare signature", lambda name: median[f"bare threads {name}"], 2),
    )
    for label, figure, decimals in rows:
        print(f"  {label:<52}{''.join(f'{figure(name):>12,.{decimals}f}' for name in keys)}")
    return 0


def _sign(signer: DkimSigner, letter: Letter) -> bytes:
    return signer.sign(letter.header, letter.body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
