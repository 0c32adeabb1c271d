"""What a check is: a rule that is documented, and a small pure function that looks for breaches of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from newsletter.preflight.model import Examined, Finding, Level


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing an issue should be. `level` is the worst a finding of it can have, `lesser` are others it can have.

    `meaning` says in one line what a finding means, `remedy` what to do about it.
    """

    id: str
    level: Level
    meaning: str
    remedy: str
    lesser: tuple[Level, ...] = ()

    @property
    def levels(self) -> tuple[Level, ...]:
        """Every level a finding can have, the worst first."""
        return (self.level, *self.lesser)

    def finding(self, message: str, *, line: int | None = None, level: Level | None = None, hint: str = "") -> Finding:
        """A breach of this rule, at the rule's own level and with its remedy unless said otherwise.

        Raises `ValueError` for a level that the rule is not documented with.
        """
        level = level or self.level
        if level not in self.levels:
            raise ValueError(f"{self.id} is documented as {' or '.join(self.levels)}, not {level}")
        return Finding(self.id, level, message, hint or self.remedy, line or None)


@dataclass(frozen=True, slots=True)
class Found:
    """What a check's function yields: a finding that does not know its rule yet.

    `line` 0 or None: nowhere in the source. `level` None: the rule's own. `hint` empty: the rule's remedy.
    """

    message: str
    line: int | None = None
    level: Level | None = None
    hint: str = ""


Look = Callable[[Examined], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule and the function that looks for breaches of it."""

    rule: Rule
    look: Look

    def findings(self, examined: Examined) -> tuple[Finding, ...]:
        """Every breach of the rule in what is examined, each said once."""
        found = (
            self.rule.finding(one.message, line=one.line, level=one.level, hint=one.hint) for one in self.look(examined)
        )
        return tuple(dict.fromkeys(found))


def check(id: str, *levels: Level, means: str, do: str) -> Callable[[Look], Check]:
    """Make a check of the function below. `levels` are those of its findings, the worst first."""

    def made(look: Look) -> Check:
        return Check(Rule(id, levels[0], means, do, lesser=levels[1:]), look)

    return made
