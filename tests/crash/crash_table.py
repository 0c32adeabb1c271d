"""`make crash`: so many kills over the whole matrix, the mutations, four workers, the soak; prints what came of it.

    python tests/crash/crash_table.py --kills 1000

Exit code 0 only where nobody was lost or doubled, every bound held, every run was finished, and every mutation noticed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cluster_trials import CLUSTER_TRIALS, killed_at_random, killed_at_steps, time_to_take_over
from cluster_trials import STEPS as WORKER_STEPS
from crash_trials import Finding, Tools, one_trial
from database_trials import DATABASE_TRIALS
from fresh_databases import PostgresServer
from further_trials import FURTHER, soak
from kill_plans import NAMED, SETTLING, Cell, named_kills, random_kills
from mutation_trials import CHECKS, is_noticed, noticed
from recorders import Mail, Recorder
from sender_processes import SenderProcess
from trial_projects import Kind, Projects, Terms

#: In memory, where the system has such a place: a killed process loses nothing that it wrote, on whatever disk.
_IN_MEMORY = Path("/dev/shm")


@dataclass
class Row:
    """What the trials of one cell came to."""

    cell: Cell
    trials: int = 0
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    #: the most of the bound that a trial used up: how many, of how many
    unknown: tuple[int, int] = (0, 0)
    finished: int = 0
    #: how often it was killed at each step; "after" and "at-byte" are instants
    steps: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        """As the table has it."""
        cell, (unknown, bound) = self.cell, self.unknown
        how = "random" if cell.random else "named"
        return (
            f"{cell.mail:<9} {cell.kind:<11} {cell.threads:>7}  {how:<7} {self.kills:>6,} {self.lost:>5} "
            f"{self.doubled:>8}  {f'{unknown}/{bound}':>12}  {f'{self.finished}/{self.trials}':>9} "
            f"{self.seconds:>6.0f} s"
        )


#: With so many kills there is one at each step.
ENOUGH = 1000
HEAD = "provider  database    threads  kills at  kills  lost  doubled  unknown/max   finished     time"


def cells() -> list[Cell]:
    """The whole matrix."""
    return [Cell(*one) for one in itertools.product(Mail, Kind, (1, 4), (True, False))]


def say(line: str) -> None:
    """Shows a line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for projects and records; gone afterwards."""
    folder = Path(
        tempfile.mkdtemp(prefix="newsletter-crash-", dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None)
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def tools_in(folder: Path, postgres: PostgresServer | None = None) -> Iterator[Tools]:
    """Recorders and a sender, for trials one after the other."""
    # SendGrid's answers take a moment: else a send is over before it can be killed
    recorders = {
        Mail.SMTP: Recorder(Mail.SMTP, folder / "record"),
        Mail.SENDGRID: Recorder(Mail.SENDGRID, folder / "record", ["--delay", "10"]),
    }
    tools = Tools(Projects(folder, postgres), recorders, SenderProcess())
    try:
        yield tools
    finally:
        tools.close()


def run_cell(
    tools: Tools, cell: Cell, kills: int, seed: int, people: int = 300, numbers: Sequence[int] = (1, 2, 4, 6)
) -> Row:
    """Trials of one cell until so many processes were killed; `numbers`: of how many, in one trial."""
    row, chance, terms = Row(cell), random.Random(f"{cell} {seed}"), Terms(people, threads=cell.threads)
    began = time.monotonic()
    named, whole = named_kills(cell, terms, chance), 0.3
    while row.kills < kills:
        number = min(kills - row.kills, chance.choice(numbers))
        planned = random_kills(chance, whole, number) if cell.random else [next(named) for _ in range(number)]
        settling = None if cell.random else chance.choice([None, *SETTLING])
        finding = add(row, one_trial(tools, cell, terms, planned, settling=settling))
        # how long a send takes shows where the kills come too late
        whole *= 1.1 if len(finding.kills) == number else 0.8
    row.seconds = time.monotonic() - began
    return row


def add(row: Row, finding: Finding) -> Finding:
    """Counts a trial in."""
    row.trials += 1
    row.kills += len(finding.kills)
    row.lost += len(set(finding.lost))
    row.doubled += len(set(finding.doubled))
    row.finished += finding.finished
    row.steps.update(kill.partition(":")[0].partition(" ")[0] for kill in finding.kills)
    row.unknown = max(row.unknown, (finding.unknown, finding.bound))
    if finding.faults:
        row.faults.append(f"{row.cell}: killed {', '.join(finding.kills) or 'never'}: {'; '.join(finding.faults)}")
    return finding


def print_matrix(folder: Path, postgres: PostgresServer, kills: int, workers: int, seed: int) -> bool:
    """Goes through the matrix, a cell a worker; whether all is well."""
    share = -(-kills // len(cells()))
    waiting: queue.SimpleQueue[Tools] = queue.SimpleQueue()
    with ExitStack() as stack:
        for number in range(workers):
            waiting.put(stack.enter_context(tools_in(folder / str(number), postgres)))

        def one(cell: Cell) -> Row:
            tools = waiting.get()
            try:
                return run_cell(tools, cell, share, seed)
            finally:
                waiting.put(tools)

        say(HEAD)
        rows = []
        with ThreadPoolExecutor(workers) as pool:
            for row in pool.map(one, cells()):
                say(row.line())
                rows.append(row)
    say(
        f"together {sum(row.kills for row in rows):,} kills in {sum(row.trials for row in rows):,} runs: "
        f"lost {sum(row.lost for row in rows)}, doubled {sum(row.doubled for row in rows)}, "
        f"finished {sum(row.finished for row in rows):,}"
    )
    steps = sum((row.steps for row in rows), Counter[str]())
    often = sorted(steps[one] for one in NAMED)
    say(
        f"killed at {len(NAMED & steps.keys())} of {len(NAMED)} named steps, {often[0]} to {often[-1]} times at each; "
        f"{steps['at-byte']} times at any byte"
    )
    faults = [fault for row in rows for fault in row.faults]
    if kills >= ENOUGH:
        faults += [f"nobody was killed at {step}" for step in sorted(NAMED - steps.keys())]
    for fault in faults:
        say(f"  FAULT {fault}")
    return not faults


def print_mutations(tools: Tools) -> bool:
    """Takes each safety out; whether each is noticed, and nothing is said where they all are there."""
    say("\nwithout …                 the suite says")
    well = True
    for name in CHECKS:
        sound, mutated = noticed(tools, name)
        good = not sound and is_noticed(name, mutated)
        said = "; ".join(mutated) if good else f"NOT NOTICED: {mutated}" if not sound else f"FAULT when whole: {sound}"
        say(f"{name:<25} {said[:100]}")
        well = well and good
    return well


def print_further(tools: Tools) -> bool:
    """What else befalls a send; whether all is well."""
    say("\nfurther trials")
    well = True
    for name, trial in {**FURTHER, **DATABASE_TRIALS}.items():
        began = time.monotonic()
        faults = trial(tools)
        say(f"{name:<64} {'; '.join(faults) or 'ok'}   {time.monotonic() - began:.0f} s")
        well = well and not faults
    return well


def print_cluster(tools: Tools, rounds: int, seed: int) -> bool:
    """Four workers, `rounds` times through everything that befalls them; whether all is well."""
    say("\nfour workers on hosts of their own, PostgreSQL")
    say(f"{'what befalls them':<57} mail      kills  lost  doubled  unknown/max      time")
    well, kills = True, 0
    for number in range(rounds):
        trials: dict[tuple[str, Mail], Callable[[], Finding]] = {}
        for mail in Mail:
            for start in range(0, len(WORKER_STEPS), 7):
                some, chance = WORKER_STEPS[start : start + 7], seed + number
                what = f"killed at {some[0]} … {some[-1]}"
                trials[what, mail] = partial(killed_at_steps, tools, mail, some, chance)
            trials["killed at random", mail] = partial(killed_at_random, tools, mail, 6, seed + number)
        trials |= {(what, Mail.SMTP): partial(trial, tools) for what, trial in CLUSTER_TRIALS.items()}
        for (what, mail), trial in trials.items():
            began = time.monotonic()
            done = trial()
            kills += len(done.kills)
            say(
                f"{what:<57} {mail:<9} {len(done.kills):>5} {len(done.lost):>5} {len(done.doubled):>8} "
                f"{f'{done.unknown}/{done.bound}':>12} {time.monotonic() - began:>7.0f} s"
            )
            for fault in done.faults:
                say(f"  FAULT {fault}")
            well = well and not done.faults
    over = time_to_take_over(tools)
    say(f"{kills} workers killed; the batch of a dead one is taken up on another host after {over.seconds:.1f} s")
    return well and not over.finding.faults


def print_soak(tools: Tools, people: int) -> bool:
    """So many recipients through providers with faults; whether the sums are right."""
    well = True
    say("\nsoak      people  lost  doubled  answers lost  commands      time")
    for mail in Mail:
        began = time.monotonic()
        done = soak(tools, mail, people // 2)
        lost, doubled = len(done.lost), len(done.doubled)
        spent = f"{time.monotonic() - began:.0f} s"
        say(f"{mail:<9}{people // 2:>7,}{lost:>6}{doubled:>9}{done.unknown:>14,}{done.commands:>10}{spent:>10}")
        for fault in done.faults:
            say(f"  FAULT {fault}")
        well = well and not done.faults
    return well


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Kills senders, and compares what went out with the ledger.")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cluster", type=int, default=3, help="rounds with four workers; 0: none")
    parser.add_argument("--soak", type=int, default=100_000, help="recipients of the soak; 0: none")
    given = parser.parse_args(arguments)
    postgres = PostgresServer()
    try:
        with work_folder() as folder:
            say(f"seed {given.seed}\n")
            well = print_matrix(folder, postgres, given.kills, given.workers, given.seed)
            with tools_in(folder / "further", postgres) as tools:
                well = print_mutations(tools) and well
                well = print_further(tools) and well
                well = (not given.cluster or print_cluster(tools, given.cluster, given.seed)) and well
                well = (not given.soak or print_soak(tools, given.soak)) and well
    finally:
        postgres.stop()
    sys.exit(not well)


if __name__ == "__main__":
    main()
