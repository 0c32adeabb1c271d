"""Who may import whom: the table of docs/architecture.md, held for every import in the package.

Imports inside functions and under TYPE_CHECKING count like all others: a direction is a direction.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "newsletter"

#: The modules of a room that hold its values: data, enums and Protocols, and nothing that does anything.
VALUES = {
    "issue": ["issue.model"],
    "audience": ["audience.model", "audience.people", "audience.signups"],
    "rendering": ["rendering.model", "rendering.letter"],
    "preflight": ["preflight.model"],
    "delivery": [
        "delivery.model",
        "delivery.states",
        "delivery.names",
        "delivery.run_values",
        "delivery.ledger",
        "delivery.observing",
        "delivery.archive",
    ],
    "settings": ["settings.model", "settings.loaded"],
    "pipeline": ["pipeline.model"],
    "alerts": ["alerts.model"],
    "doctor": ["doctor.model"],
    "schedule": ["schedule.model"],
    "events": ["events.model", "events.tracking"],
    "access": ["access.model"],
}
#: The Protocols that adapters implement.
PROTOCOLS = [
    "audience.store",
    "delivery.provider",
    "delivery.ledger",
    "delivery.pace_records",
    "delivery.clock",
    "schedule.records",
    "events.inbox",
]
#: What rendering makes for providers: a letter's MIME segments, encoded once, and how a recipient's values fill them.
SEGMENTS = ["rendering.mime"]
#: How single values and header fields are written, for providers that put the message together themselves.
WRITTEN = ["rendering.escaping", "rendering.headers", "rendering.holes", "rendering.plain_columns"]

_CORE = ["issue", "rendering", "preflight", "audience", "delivery", "events", "settings", "errors"]
#: How a cell of a CSV file is kept from being run.
CELLS = ["audience.spreadsheets"]
_ADAPTER = [
    *CELLS,
    *PROTOCOLS,
    *VALUES["delivery"],
    *VALUES["audience"],
    *VALUES["rendering"],
    *VALUES["schedule"],
    *VALUES["events"],
    *VALUES["access"],
    *SEGMENTS,
    *WRITTEN,
    "errors",
]
_SHOWN = [module for modules in VALUES.values() for module in modules]
#: The settings as documents: as they are in force, as a schema, and what is wrong with them.
_SHOWN += ["settings.show", "settings.schema", "settings.picture"]
_DOOR = ["wiring", "pipeline", "project_files", "logs", "metrics", "errors", *_SHOWN]

#: What each room may import besides itself: whole rooms (`issue`) or single modules of one (`audience.model`).
MAY_IMPORT: dict[str, list[str]] = {
    "errors": [],
    "project_files": ["errors"],
    "issue": ["errors"],
    "audience": ["errors"],
    "settings": ["errors"],
    "rendering": ["issue", "errors"],
    "preflight": ["issue", "rendering", *VALUES["audience"], "errors"],
    "delivery": [*VALUES["issue"], *VALUES["rendering"], *VALUES["audience"], "errors"],
    # it reads the links and addresses in what comes back
    "events": [*VALUES["delivery"], "delivery.links", *VALUES["audience"], "audience.addresses", "errors"],
    "access": ["errors"],
    "providers": _ADAPTER,
    "store": _ADAPTER,
    "pipeline": _CORE,
    "logs": [*VALUES["delivery"], "errors"],
    "metrics": [*VALUES["delivery"], "errors"],
    "alerts": ["logs", "settings", "errors"],
    "doctor": ["pipeline", "alerts", *_CORE],
    "schedule": ["pipeline", *VALUES["delivery"], "delivery.clock", *VALUES["alerts"], "settings", "errors"],
    "wiring": [
        *_CORE,
        "providers",
        "store",
        "pipeline",
        "schedule",
        "alerts",
        "doctor",
        "access",
        "project_files",
        "logs",
        "metrics",
    ],
    "cli": [*_DOOR, "doctor", "web", "worker"],  # it starts them
    "__main__": ["cli"],
    "web": [*_DOOR, *PROTOCOLS, "audience.masking", "delivery.links", "rendering.words", "events.verdicts"],
    "worker": _DOOR,
}

#: Names that say nothing about what is inside.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


@dataclass(frozen=True)
class Import:
    """One import of a module of ours: the room it stands in and the module it reaches, without `newsletter.`."""

    file: Path
    line: int
    room: str
    target: str

    def broken_rule(self) -> str | None:
        """The rule it breaks, in words, or None."""
        allowed = MAY_IMPORT.get(self.room)
        if allowed is None:
            return f"{self.room} is no room of docs/architecture.md"
        for one in [self.room, *allowed]:
            if self.target == one or self.target.startswith(f"{one}."):
                return None
        return f"{self.room} may import {', '.join(allowed) or 'nothing'}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.room} imports newsletter.{self.target}, but {self.broken_rule()}"


def imports_of(file: Path, package: Path) -> Iterator[Import]:
    """Every import of a module of `package` in `file`, wherever in the file it stands."""
    relative = file.relative_to(package).with_suffix("")
    here = ["newsletter", *relative.parts]
    room = relative.parts[0]
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        for name in _modules_named(node, here, package):
            if name.startswith("newsletter."):
                yield Import(file, getattr(node, "lineno", 0), room, name.removeprefix("newsletter."))


def _modules_named(node: ast.AST, here: list[str], package: Path) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            # Level 1 is the folder the file stands in, for a module and for an __init__ alike.
            start = here[: len(here) - level] if level else []
            origin = ".".join([*start, *(module.split(".") if module else [])])
            reached = (f"{origin}.{alias.name}" for alias in names)
            # Several names out of one module are one import of it.
            yield from dict.fromkeys(name if _is_module(name, package) else origin for name in reached)
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            yield name


def _is_module(name: str, package: Path) -> bool:
    path = package.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def violations(package: Path) -> list[str]:
    files = sorted(file for file in package.rglob("*.py") if file != package / "__init__.py")
    return [str(one) for file in files for one in imports_of(file, package) if one.broken_rule()]


def test_every_import_follows_the_table() -> None:
    assert not violations(PACKAGE), "\n" + "\n".join(violations(PACKAGE))


def test_every_room_stands_in_the_table() -> None:
    rooms = {
        path.stem for path in PACKAGE.iterdir() if (path.is_dir() and any(path.rglob("*.py"))) or path.suffix == ".py"
    }
    assert rooms - {"__init__"} <= MAY_IMPORT.keys()


def test_the_package_itself_imports_none_of_its_rooms() -> None:
    """Every room imports the package first: what stood in its __init__ would be above and below everything."""
    init = PACKAGE / "__init__.py"
    assert list(imports_of(init, PACKAGE)) == []


def test_module_names_say_what_is_inside() -> None:
    files = [file for folder in ("newsletter", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 10
    named = [
        file for file in files if set(re.split(r"[_/]", str(file.relative_to(ROOT).with_suffix("")))) & EMPTY_NAMES
    ]
    assert named == []


def test_the_table_stands_in_the_docs() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z_, ]+) \| .+ \|$", text, flags=re.MULTILINE)
    documented = {room.strip() for row in rows for room in row.split(",")}
    assert MAY_IMPORT.keys() - {"__main__"} <= documented


PLANTED = {
    "a plain import": ("issue/files.py", "import newsletter.rendering.mjml\n", 1, "rendering.mjml"),
    "from a room": ("issue/files.py", "\nfrom newsletter import rendering\n", 2, "rendering"),
    "from a module": ("rendering/digest.py", "from newsletter.settings.model import Site\n", 1, "settings.model"),
    "inside a function": ("issue/files.py", "def f():\n    from newsletter.wiring import x\n", 2, "wiring"),
    "for types only": (
        "issue/files.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import newsletter.cli\n",
        3,
        "cli",
    ),
    "a relative one": ("providers/smtp.py", "from ..issue.model import Issue\n", 1, "issue.model"),
    "a relative one from an __init__": ("issue/__init__.py", "from ..cli import main\n", 1, "cli"),
    "by its name at run time": (
        "errors.py",
        "import importlib\nimportlib.import_module('newsletter.issue')\n",
        2,
        "issue",
    ),
    "behind the values": (
        "delivery/plan.py",
        "from newsletter.audience.csv_files import read\n",
        1,
        "audience.csv_files",
    ),
    "several names of one module": (
        "issue/files.py",
        "from newsletter.rendering.mjml import a, b\n",
        1,
        "rendering.mjml",
    ),
    "from an unknown room": ("extras/x.py", "import newsletter.errors\n", 1, "errors"),
}


@pytest.fixture
def small_package(tmp_path: Path) -> Path:
    """A package of the real one's rooms, with modules that hold nothing."""
    package = tmp_path / "newsletter"
    for module in ["__init__", "errors", "wiring", "cli/__init__", "issue/model", "rendering/mjml", "rendering/model"]:
        (package / module).parent.mkdir(parents=True, exist_ok=True)
        (package / module).with_suffix(".py").write_text("")
    return package


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_violation_is_named_with_its_line_and_its_rule(small_package: Path, kind: str) -> None:
    where, text, line, target = PLANTED[kind]
    file = small_package / where
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    [found] = violations(small_package)
    room = where.split("/", maxsplit=1)[0].removesuffix(".py")
    assert found.startswith(f"{file}:{line}: {room} imports newsletter.{target}, but {room} ")


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (
            "issue/files.py",
            "import newsletter\nfrom newsletter import __version__\nfrom newsletter.errors import IssueError\n",
        ),
        ("issue/files.py", "from newsletter.issue.model import Issue\nfrom . import model\nfrom .model import Issue\n"),
        ("delivery/plan.py", "from newsletter.rendering.model import Variant\n"),
        ("wiring.py", "import newsletter.providers.disk\nimport newsletter.project_files\n"),
        ("__main__.py", "from newsletter.cli import main\n"),
        ("errors.py", "import pathlib\nimport newsletter_of_others.cli\n"),
    ],
)
def test_what_the_table_allows_is_not_reported(small_package: Path, where: str, text: str) -> None:
    (small_package / where).parent.mkdir(exist_ok=True)
    (small_package / where).write_text(text)
    assert violations(small_package) == []


def declared(extra: str = "") -> set[str]:
    """The distributions that pyproject.toml asks for, at run time or for `extra`, by their normalised names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.split(r"[\[<>=~!; ]", one, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-") for one in wanted}


def test_whatever_the_package_imports_is_a_dependency_it_declares() -> None:
    """A library that another one happens to bring along may be gone after its next release."""
    brought_by = packages_distributions()
    imported = {
        name.split(".")[0]: f"{file}:{getattr(node, 'lineno', 0)}"
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_bytes()))
        for name in _modules_named(node, [], PACKAGE)
    }
    foreign = imported.keys() - sys.stdlib_module_names - {"newsletter", ""}
    assert len(foreign) > 5
    declared_ones = declared() | declared("css-inline") | declared("alerts") | declared("altcha") | declared("cluster")
    missing = {
        name: imported[name]
        for name in foreign
        if not declared_ones & {one.lower().replace("_", "-").replace(".", "-") for one in brought_by.get(name, [])}
    }
    assert missing == {}


def test_the_docs_say_what_each_dependency_is_for() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## Dependencies", maxsplit=1)[1]
    rows = re.findall(r"^\| ([a-z0-9, -]+) \| .+ \|$", text, flags=re.MULTILINE)
    assert {name.strip() for row in rows for name in row.split(",")} - {"library"} == declared()
