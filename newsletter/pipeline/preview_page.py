"""The page that shows all of a dry run: index.html. It makes text and reads nothing but its template.

It is one file without scripts that asks the network for nothing, works from disk, and is the same for the same facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from newsletter.audience.model import Audience, Exclusion
from newsletter.delivery.model import Tally
from newsletter.errors import TemplateError
from newsletter.issue.model import Issue
from newsletter.pipeline.mail_frames import Scheme, images_to_load, mail_frames
from newsletter.pipeline.prepare import Prepared
from newsletter.preflight.model import GMAIL_CLIPS_KB, KB, Finding, Level
from newsletter.preflight.size import FAIL_KB, WARN_KB
from newsletter.preflight.subject import PREHEADER_CHARACTERS, SUBJECT_CHARACTERS
from newsletter.preflight.verdict import worst_level
from newsletter.rendering.environment import TemplateEnvironment
from newsletter.rendering.headers import mailbox_parts
from newsletter.rendering.template_folder import TemplateFolder

#: What a dry run writes beside the page, in the order of its links.
FILES = ("issue.html", "issue.txt", "messages/0001.eml", "recipients.csv", "excluded.csv", "summary.json")
#: People in a table; the rest stands in a CSV file.
EXCLUDED_SHOWN = 200
MEMBERS_SHOWN = 20
#: Characters of a source line that are quoted.
QUOTED = 180

#: One word and one sentence for every reason to be left out.
REASONS: Mapping[Exclusion, str] = {
    Exclusion.SUPPRESSED: "left, bounced, complained, or kept out by hand",
    Exclusion.PENDING: "nothing shows that they asked for it",
    Exclusion.PAUSED: "they wish no mail for now",
    Exclusion.INVALID: "the address cannot be mailed",
    Exclusion.DUPLICATE: "the same person stands on the lists before",
}

_LEVEL_NAMES: Mapping[Level, tuple[str, str]] = {
    Level.ERROR: ("Error", "Errors"),
    Level.WARN: ("Warning", "Warnings"),
    Level.INFO: ("Remark", "Remarks"),
}


class Written(Protocol):
    """What a run tells of itself."""

    @property
    def audience(self) -> Audience:
        """Whom it went to, and whom not."""
        ...

    @property
    def tally(self) -> Tally:
        """How far it came."""
        ...

    @property
    def html_bytes(self) -> int:
        """Size of the HTML with typical values filled in."""
        ...

    @property
    def text_bytes(self) -> int:
        """Size of the text part with one recipient's values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewFacts:
    """All that the page shows.

    `html`, `text` and `headers` are those of one message, that of `recipient`; header values are decoded and unfolded.
    `files` are the paths, beside the page, of what else was written: each gets a link.
    """

    title: str
    run: str
    subject: str
    preheader: str
    issue: Issue
    html: str
    text: str
    headers: tuple[tuple[str, str], ...]
    html_bytes: int
    text_bytes: int
    findings: tuple[Finding, ...]
    checks_passed: int
    audience: Audience
    tally: Tally
    content_hash: str
    provider: str
    recipient: str
    files: tuple[str, ...] = FILES

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        written: Written,
        *,
        html: str,
        text: str,
        headers: tuple[tuple[str, str], ...],
        recipient: str,
        source: str,
        provider: str = "disk",
        files: tuple[str, ...] = FILES,
    ) -> PreviewFacts:
        """The facts of a prepared issue and of what became of it; the rest is of the message that is shown.

        `source` is the issue's file as seen from the project: the page is the same wherever the command runs.
        """
        return cls(
            title=prepared.issue.title,
            run=str(prepared.run),
            subject=prepared.rendered.subject,
            preheader=prepared.rendered.preheader,
            issue=replace(prepared.issue, source=source),
            html=html,
            text=text,
            headers=headers,
            html_bytes=written.html_bytes,
            text_bytes=written.text_bytes,
            findings=prepared.findings,
            checks_passed=prepared.checks_passed,
            audience=written.audience,
            tally=written.tally,
            content_hash=prepared.rendered.content_hash,
            provider=provider,
            recipient=recipient,
            files=files,
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """A line of the issue file: where it stands (`issues/2026-01-07.txt:42`) and its text, cut where it is long."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """The findings of one level, in their order, each with the line it points at."""

    level: Level
    name: str
    names: str
    findings: tuple[tuple[Finding, Quote | None], ...]

    @property
    def heading(self) -> str:
        """1 warning, 2 warnings."""
        number = len(self.findings)
        return f"{number:,} {(self.name if number == 1 else self.names).lower()}"


@dataclass(frozen=True, slots=True)
class SizeBar:
    """The HTML against the size at which Gmail clips; 1 KB is 1,024 bytes. `percent` is at most 100."""

    kilobytes: float
    limit: int
    warn: int
    percent: float
    level: Level


def preview_page(facts: PreviewFacts, template_roots: Sequence[Path]) -> str:
    """The page as HTML, made with `preview/index.html.j2` of the first of `template_roots` that has it.

    Raises TemplateError, with its line, where the template is wrong.
    """
    templates = TemplateEnvironment(TemplateFolder("preview", tuple(template_roots), "", ()))
    page = templates.render("index.html.j2", _context(facts))
    # a lone surrogate in an issue or a name must not keep the page from being written
    return page.encode("utf-8", "replace").decode("utf-8")


def size_bar(html_bytes: int) -> SizeBar:
    """Where the HTML stands; the levels are those of the check `html-size`."""
    kilobytes = html_bytes / KB
    level = Level.ERROR if kilobytes >= FAIL_KB else Level.WARN if kilobytes >= WARN_KB else Level.INFO
    percent = round(min(100.0, 100 * kilobytes / GMAIL_CLIPS_KB), 1)
    return SizeBar(kilobytes, GMAIL_CLIPS_KB, WARN_KB, percent, level)


def quote(issue: Issue, line: int | None) -> Quote | None:
    """The line of the issue file that a finding points at; None if it points at none."""
    if not line or line < 1:
        return None
    text = issue.source_lines[line - 1].strip() if line <= len(issue.source_lines) else ""
    if len(text) > QUOTED:
        text = text[:QUOTED].rstrip() + "…"
    return Quote(f"{issue.source}:{line}", text)


def _groups(facts: PreviewFacts) -> tuple[FindingGroup, ...]:
    """The levels that have findings, the worst first."""
    groups = []
    for level, (name, names) in _LEVEL_NAMES.items():
        found = tuple((one, quote(facts.issue, one.line)) for one in facts.findings if one.level is level)
        if found:
            groups.append(FindingGroup(level, name, names, found))
    return tuple(groups)


def _sender(facts: PreviewFacts) -> str:
    """As an inbox names them: by name, else by address; what is no mailbox as it stands there."""
    sender = next((value for name, value in facts.headers if name.lower() == "from"), "")
    try:
        name, address = mailbox_parts("From", sender)
    except TemplateError:
        return sender
    return name or address


def _context(facts: PreviewFacts) -> dict[str, Any]:
    """The variables of the template."""
    audience = facts.audience
    frames = mail_frames(facts.html)
    return {
        "facts": facts,
        "issue": facts.issue,
        "stories": sum(1 for _ in facts.issue.stories()),
        "sender": _sender(facts),
        "stages": [(scheme, [frame for frame in frames if frame.scheme is scheme]) for scheme in Scheme],
        "images_to_load": images_to_load(facts.html),
        "groups": _groups(facts),
        "worst": worst_level(facts.findings) or Level.INFO,
        "size": size_bar(facts.html_bytes),
        "text_kilobytes": facts.text_bytes / KB,
        "inbox": {"subject": SUBJECT_CHARACTERS, "preheader": PREHEADER_CHARACTERS},
        "audience": audience,
        "members": audience.members[:MEMBERS_SHOWN],
        "reasons": [(reason, count, REASONS[reason]) for reason, count in audience.left_out.items()],
        "excluded": audience.excluded[:EXCLUDED_SHOWN],
        "left_out": audience.everyone - audience.planned,
        "files": [file for file in facts.files if audience.planned or not file.startswith("messages/")],
    }
