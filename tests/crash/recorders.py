"""The recorder: a mail server in a process of its own that writes down whom it accepted before it says so."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from sender_processes import HERE, environment_with_tests

_ESTABLISHED, _CLOSE_WAIT = "01", "08"


class Mail(StrEnum):
    """What kind of provider."""

    SMTP = "smtp"
    SENDGRID = "sendgrid"


#: The SMTP one is that of the other tests, with faults.
_PROGRAMS = {Mail.SMTP: [str(HERE / "faulty_smtp.py")], Mail.SENDGRID: ["-m", "servers.sendgrid_server"]}


class Recorder:
    """One server; what it recorded is read from its file. `options` are those of its command line."""

    def __init__(self, mail: Mail, folder: Path, options: Sequence[str] = ()) -> None:
        self.mail = mail
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{mail}.ndjson"
        self._start = 0
        self._process = subprocess.Popen(
            [sys.executable, *_PROGRAMS[mail], "--port", "0", "--record", str(self._file), *options],
            stdout=subprocess.PIPE,
            env=environment_with_tests(),
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().rpartition(":")[2])

    def forget(self) -> None:
        """What was recorded until now is no longer told."""
        self.wait_until_quiet()
        self._start = self._file.stat().st_size if self._file.exists() else 0

    def addresses(self) -> list[str]:
        """Whom it accepted since, in order, when every connection is over: nothing is on its way any more."""
        self.wait_until_quiet()
        with self._file.open("rb") as file:
            file.seek(self._start)
            lines = [json.loads(line) for line in file]
        return [line.get("to") or line["address"] for line in lines]

    def count(self) -> int:
        """How many it accepted so far."""
        with self._file.open("rb") as file:
            file.seek(self._start)
            return file.read().count(b"\n")

    def wait_until_quiet(self) -> None:
        """Until no client is connected, and the server has closed its ends too."""
        end = time.monotonic() + 60
        while self._connections():
            assert time.monotonic() < end, "a connection to the recorder stays open"
            time.sleep(0.005)

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _connections(self) -> int:
        """Its ends of connections, by the system's table (proc(5)): all states but listening and the last ones."""
        local = f":{self.port:04X}"
        rows = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(mine.endswith(local) and state in (_ESTABLISHED, _CLOSE_WAIT) for mine, _, state in rows)
