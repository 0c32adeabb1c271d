"""When a sender is killed: at random instants, at every named step, at any byte; and how a trial's cell is called."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from kill_steps import BYTE_RANGES, STEPS, Order
from recorders import Mail
from trial_projects import Kind, Terms


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    mail: Mail
    kind: Kind
    threads: int
    #: at random instants, or at named steps
    random: bool

    def __str__(self) -> str:
        how = "random" if self.random else "named"
        return f"{self.mail} {self.kind} {self.threads} thread{'s' * (self.threads > 1)} {how}"


@dataclass(frozen=True)
class Kill:
    """How a sender dies: `seconds` after it began to plan or to take the run, or the `number`-th time at `step`; with
    another `action` something else befalls it there."""

    step: str = ""
    number: int = 1
    seconds: float = 0.0
    action: str = "kill"

    def of_what_is_left(self, share: float) -> Kill:
        """The same for a run of which this share is left to send: it comes by so much sooner."""
        if self.action != "kill":
            return self
        return Kill(self.step, max(1, round(self.number * share)), self.seconds * share)

    @property
    def orders(self) -> list[str]:
        """As `crashing_send` is told."""
        return [str(Order(self.step, self.number, self.action))] if self.step else []

    def __str__(self) -> str:
        return f"{self.step}:{self.number}" if self.step else f"after {self.seconds:.3f} s"


def random_kills(chance: random.Random, seconds: float, number: int) -> list[Kill]:
    """So many kills, each at any instant of a send that takes so long."""
    return [Kill(seconds=chance.uniform(0, seconds)) for _ in range(number)]


#: The steps that a send comes to; those of `settle` are another command's (SETTLING).
NAMED = frozenset(STEPS) - {"settle-before", "settle-after"}
#: Where a command is killed that settles what is unknown.
SETTLING = [
    Kill("settle-before"),
    Kill("settle-after"),
    *(Kill(f"commit-{w}", n) for w in ("before", "after") for n in (3, 4)),
]


def named_kills(cell: Cell, terms: Terms, chance: random.Random) -> Iterator[Kill]:
    """Every named step, at any of the times that a send comes to it, and any byte, one after the other. Without end."""
    calls = -(-terms.people // (terms.window if cell.mail is Mail.SMTP else terms.batch_size))
    messages = terms.people if cell.mail is Mail.SMTP else calls
    # with several threads there is more than one call in an exchange
    exchanges = max(2, calls // cell.threads)
    often = {"exchange": exchanges, "commit": exchanges + 4, "exchange-commit": exchanges, "journal": exchanges}
    often |= {"submit": calls, "report": calls}
    steps = [(f"{name}-{when}", most) for name, most in often.items() for when in ("before", "after")]
    steps += [("journal-within", exchanges), ("answer-before", messages), ("answer-after", messages)]
    steps += [(f"bytes-{name}", messages) for name in BYTE_RANGES]
    once = ["plan-before", "plan-after", "take-before", "take-after", "close-before", "close-after"]
    steps += [(step, 1) for step in once]
    size = 45_000 * terms.people if cell.mail is Mail.SMTP else 38_000 * calls
    while True:
        for number, (step, most) in enumerate(chance.sample(steps, len(steps))):
            yield Kill(step, chance.randint(1, max(1, int(most * 0.9))))
            if number % 4 == 0:
                yield Kill("at-byte", chance.randint(1, size))
