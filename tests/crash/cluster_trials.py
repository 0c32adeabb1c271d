"""Trials of workers: four of them in processes of their own, each on a host of its own, with one run on PostgreSQL.

A host is a copy of the project with a name: it sees nobody else's lock files and journal. What befalls workers is a
`Blow`; whoever is killed is started again, as a service manager does. What must hold is what must hold of one sender
(`Trial.compare`): nobody lost, nobody doubled, no more unknown than window times threads for each worker that died or
was taken for dead, all of them listed.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from broken_line import Line
from crash_trials import Finding, Tools, Trial
from crashing_send import Request
from kill_plans import Kill
from recorders import Mail
from sender_processes import STUCK, SenderProcess
from trial_projects import SLOT, Kind, Terms

from newsletter.delivery.run_values import RunRecord
from newsletter.delivery.states import RunState

WORKERS = 4
#: Batches at a time in each, people, and how many are in one claim: a kill may leave THREADS times WINDOW unknown.
THREADS, PEOPLE, WINDOW, BATCH = 2, 240, 5, 20
#: Messages a second of all workers: a run takes some seconds.
RATE = 60
#: Leases and silences a tenth as long, so that a test need not wait half a minute for each death. What holds between
#: them stays: calls end well before a lease, and a worker shows that it lives several times within its time.
SHORT: Mapping[str, float | str] = {
    "newsletter.store.senders:LEASE": 3,
    "newsletter.store.senders:MARGIN": 1,
    "newsletter.store.senders:_RENEW_AFTER": 0.5,
    "newsletter.delivery.clerk:KEEP_EVERY": 0.5,
    "newsletter.worker.serving:SIGN_OF_LIFE": 0.5,
    "newsletter.worker.serving:SILENCE": 2.0,
    "newsletter.worker.serving:EVERY": "* * * * * *",
}
#: Where workers are killed: what only they do, and what all senders do.
STEPS = (
    *("take-batch-before", "take-batch-after", "close-batch-before", "close-batch-after"),
    *("exchange-before", "exchange-commit-before", "exchange-commit-after", "exchange-after"),
    *("journal-before", "journal-within", "journal-after", "submit-before", "submit-after"),
    *("bytes-body", "bytes-dot-1", "bytes-dot-0", "answer-before", "answer-after", "report-before", "report-after"),
)


@dataclass
class Host:
    """One machine with one worker."""

    name: str
    folder: Path
    environment: dict[str, str]
    process: SenderProcess
    starts: int = 0
    #: whether its worker was told of a step to die at
    doomed: bool = False


@dataclass
class Cluster:
    """The hosts of a trial, and the trial. `change` sets constants of the product."""

    trial: Trial
    hosts: list[Host]
    change: Mapping[str, float | str]
    #: workers that died, or were stopped or cut off for longer than they counted as alive
    crashes: int = 0

    def start(self, host: Host, at: Sequence[str] = ()) -> None:
        """Starts the host's worker."""
        host.starts += 1
        host.doomed = bool(at)
        host.process.start(
            Request(
                str(host.folder),
                ["-v", "worker"],
                at=list(at),
                environment=host.environment,
                change=dict(self.change),
                host=host.name,
                output=str(host.folder / f"worker-{host.starts}.log"),
            )
        )

    def look(self) -> None:
        """Whoever was killed is counted, and started again."""
        for host in self.hosts:
            if host.process.ends_within(0.01):
                self.crashes += host.process.ended == -signal.SIGKILL
                self.trial.finding.check(
                    host.process.ended == -signal.SIGKILL, f"{host.name} ended with {host.process.ended}"
                )
                self.start(host)

    def run(self) -> RunRecord | None:
        """The run, as the database has it; None also where that is away."""
        return self.trial.project.run()

    def wait_for(self, count: int) -> None:
        """Until so many messages were accepted."""
        end = time.monotonic() + STUCK
        while self.trial.recorder.count() < count:
            self.look()
            if time.monotonic() > end:
                self.trial.finding.faults.append(f"only {self.trial.recorder.count()} of {count} went out in time")
                return
            time.sleep(0.02)

    def wait_for_the_end(self, seconds: float = STUCK) -> None:
        """Until the run is held or over."""
        end = time.monotonic() + seconds
        while (run := self.run()) is None or (run.state is not RunState.HELD and run.ended_at is None):
            self.look()
            if time.monotonic() > end:
                self.trial.finding.faults.append(f"it is {run.state if run else 'not there'} after {seconds:g} s")
                return
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM to everybody, who must end well, unless they come to the step at which they are to die."""
        for host in self.hosts:
            if host.process.ended is None:
                host.process.signal(signal.SIGCONT)
                host.process.signal(signal.SIGTERM)
        for host in self.hosts:
            code = host.process.wait()
            died = host.doomed and code == -signal.SIGKILL
            self.crashes += died
            self.trial.finding.check(died or code == 0, f"{host.name} ended with {code}")

    def said(self) -> str:
        """What the workers logged."""
        return "".join(
            f"--- {file}\n{file.read_text('utf-8', 'replace')[-1500:]}"
            for host in self.hosts
            for file in sorted(host.folder.glob("worker-*.log"))
        )


@contextmanager
def cluster(
    tools: Tools,
    mail: Mail = Mail.SMTP,
    *,
    people: int = PEOPLE,
    change: Mapping[str, float | str] = SHORT,
    urls: Mapping[int, Callable[[str], str]] | None = None,
    workers: int = WORKERS,
) -> Iterator[Cluster]:
    """A run handed to workers, who are about to begin; afterwards the ledger is compared with the record, and what is
    unknown is settled. `urls`: how some hosts reach the database."""
    terms = Terms(people, batch_size=BATCH, window=WINDOW, threads=THREADS)
    planner, *processes = tools.senders(workers + 1)
    with tools.projects.project(Kind.POSTGRESQL, people) as project, ExitStack() as folders:
        trial = Trial(tools, project, mail, terms)
        project.set("engine", '"procrastinate"')
        project.set("rate", f'"{RATE}/s"', f"providers.{mail}")
        hosts = []
        for number, process in enumerate(processes):
            name = f"host-{number}"
            folder = project.folder.with_name(f"{project.folder.name}-{name}")
            shutil.copytree(project.folder, folder)
            folders.callback(shutil.rmtree, folder)
            environment = dict(project.environment)
            if urls and number in urls:
                environment["NEWSLETTER__DATABASE__URL"] = urls[number](project.url)
            hosts.append(Host(name, folder, environment, process))
        made = Cluster(trial, hosts, change)
        planner.start(trial.request(["-v", "send", SLOT, "--confirm", str(people)]))
        try:
            yield made
            made.wait_for_the_end()
        finally:
            made.stop()
        code = planner.wait(STUCK)
        trial.finding.check(code in (0, 6), f"send ended with {code}: {(project.folder / 'output').read_text()[-800:]}")
        trial.compare(made.crashes)
        if trial.finding.faults:
            trial.finding.faults.append(made.said())
        project.set("engine", '"threads"')
        trial.settle()


def killed_at_steps(tools: Tools, mail: Mail, steps: Sequence[str], seed: int) -> Finding:
    """Workers that are killed at these steps, one after the other, each at one of the first times it comes there."""
    chance = random.Random(f"{mail} {seed} {steps}")
    left = list(steps)
    with cluster(tools, mail) as made:
        for host in made.hosts:
            made.start(host, _next_order(left, chance))
        inner = made.start
        # who is started again may have the next step before it
        made.start = lambda host, at=(): inner(host, at or _next_order(left, chance))  # type: ignore[method-assign]
        made.wait_for_the_end()
        made.start = inner  # type: ignore[method-assign]
    made.trial.finding.kills = [f"step {step}" for step in steps[: made.crashes]]
    return made.trial.finding


def _next_order(left: list[str], chance: random.Random) -> list[str]:
    return Kill(left.pop(0), chance.randint(1, 3)).orders if left else []


def killed_at_random(tools: Tools, mail: Mail, kills: int, seed: int) -> Finding:
    """So many kills of any worker at any instant."""
    chance = random.Random(f"{mail} {seed}")
    with cluster(tools, mail) as made:
        for host in made.hosts:
            made.start(host)
        for number in range(kills):
            made.wait_for(PEOPLE * (number + 1) // (kills + 4))
            time.sleep(chance.uniform(0, 0.3))
            victim = chance.choice(made.hosts)
            if victim.process.ended is None:
                victim.process.signal(signal.SIGKILL)
                victim.process.wait()
            made.look()
    made.trial.finding.kills = [f"random {number}" for number in range(made.crashes)]
    return made.trial.finding


def stopped_for_longer_than_its_lease(tools: Tools, mail: Mail = Mail.SMTP) -> Finding:
    """Two workers are stopped in mid-send, until others have taken over what they had; then they go on."""
    with cluster(tools, mail) as made:
        for host in made.hosts:
            made.start(host)
        made.wait_for(PEOPLE // 6)
        for host in made.hosts[:2]:
            host.process.signal(signal.SIGSTOP)
        made.crashes += 2
        time.sleep(6)
        for host in made.hosts[:2]:
            host.process.signal(signal.SIGCONT)
    return made.trial.finding


def server_restarted(tools: Tools, mail: Mail = Mail.SMTP) -> Finding:
    """PostgreSQL is stopped in mid-run, and started again two seconds later. The lease is the product's own."""
    server = tools.projects.postgres
    assert server is not None
    change = {name: value for name, value in SHORT.items() if "senders" not in name}
    with cluster(tools, mail, change=change) as made:
        for host in made.hosts:
            made.start(host)
        made.wait_for(PEOPLE // 4)
        with server.away():
            time.sleep(2)
    return made.trial.finding


def line_broken(tools: Tools, word: str, seconds: float, mail: Mail = Mail.SMTP) -> Finding:
    """The line between two of the workers and PostgreSQL is cut, or holds everything back, for longer than a lease."""
    server = tools.projects.postgres
    assert server is not None
    socket_folder = str(sa.make_url(server.url("postgres")).query["host"])
    with ExitStack() as stack:
        lines = [Line(f"{socket_folder}/.s.PGSQL.5432") for _ in range(2)]
        for line in lines:
            stack.callback(line.close)
        urls = {number: partial(_through, port=line.port) for number, line in enumerate(lines)}
        with cluster(tools, mail, urls=urls) as made:
            for host in made.hosts:
                made.start(host)
            made.wait_for(PEOPLE // 6)
            for line in lines:
                line.tell(word)
            made.crashes += len(lines)
            time.sleep(seconds)
            for line in lines:
                line.tell("open")
    return made.trial.finding


def _through(url: str, port: int) -> str:
    parsed = sa.make_url(url)
    query = {name: value for name, value in parsed.query.items() if name != "host"}
    away = parsed.set(host="127.0.0.1", port=port, query={**query, "sslmode": "disable", "gssencmode": "disable"})
    return away.render_as_string(hide_password=False)


def ended_in_good_order(tools: Tools, mail: Mail = Mail.SMTP) -> Finding:
    """Workers are told to end, one after the other, and started anew: nobody becomes unknown."""
    with cluster(tools, mail) as made:
        for host in made.hosts:
            made.start(host)
        for number, host in enumerate(made.hosts):
            made.wait_for(PEOPLE * (number + 1) // 6)
            host.process.signal(signal.SIGTERM)
            code = host.process.wait()
            made.trial.finding.check(code == 0, f"{host.name} ended with {code}")
            made.start(host)
    made.trial.finding.check(made.trial.finding.unknown == 0, "somebody is unknown, and nobody was killed")
    return made.trial.finding


@dataclass(frozen=True)
class TakenOver:
    """How long what a killed worker had lay still: `seconds` from its death until its batch was in other hands."""

    seconds: float
    finding: Finding


def time_to_take_over(tools: Tools, mail: Mail = Mail.SMTP) -> TakenOver:
    """One worker of two hosts is killed, with the product's own times; and how long its batch waits for the other."""
    seconds = 0.0
    with cluster(tools, mail, change={}, workers=2, people=60) as made:
        first, second = made.hosts
        made.hosts = [first]
        made.start(first)
        made.wait_for(10)
        first.process.signal(signal.SIGKILL)
        first.process.wait()
        killed = time.monotonic()
        made.crashes += 1
        made.hosts = [second]
        made.start(second)
        while _in_flight(made) and time.monotonic() < killed + STUCK:
            time.sleep(0.1)
        seconds = time.monotonic() - killed
    return TakenOver(seconds, made.trial.finding)


def _in_flight(made: Cluster) -> bool:
    """Whether the dead worker's calls are still taken for under way."""
    with made.trial.project.engine() as engine, engine.connect() as connection:
        wanted = "SELECT count(*) FROM batch WHERE sender_id IN (SELECT id FROM sender WHERE host = 'host-0')"
        return bool(connection.execute(sa.text(wanted)).scalar())


#: By what befalls the workers: what the tests go through, and `make crash` prints; each with a number for chance.
CLUSTER_TRIALS: Mapping[str, Callable[[Tools], Finding]] = {
    "a worker stopped for longer than its lease": stopped_for_longer_than_its_lease,
    "PostgreSQL restarted in mid-run": server_restarted,
    "the line to PostgreSQL cut for two workers": partial(line_broken, word="cut", seconds=5.0),
    "the line to PostgreSQL silent for two workers": partial(line_broken, word="hold", seconds=6.0),
    "workers ended and started anew, one after the other": ended_in_good_order,
}
