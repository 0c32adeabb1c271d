"""Dry runs to look at as a page: an everyday one, and one whose every text tries to break out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from written_issues import HOLE_VALUES, PUBLICATION, everyday_issue

from newsletter.audience.model import Audience, Excluded, Exclusion, Member
from newsletter.delivery.model import Tally
from newsletter.issue.model import Issue
from newsletter.pipeline.preview_page import PreviewFacts
from newsletter.preflight.model import Finding, Level
from newsletter.rendering.holes import fill
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

TEMPLATES = Path(__file__).parents[2] / "templates"

FINDINGS = (
    Finding("html-size", Level.ERROR, "the HTML has 101.0 KB, Gmail clips at 102", "Shorten it."),
    Finding("empty-section", Level.WARN, "section 4 is empty", "Write its stories, or take the line out.", line=2),
    Finding("long-words", Level.WARN, "a very long word", "Break it up.", line=3),
    Finding("client-quiet", Level.INFO, "some clients ignore opacity"),
)
HEADERS = (
    ("From", "Daily Buzz <buzz@news.example.com>"),
    ("To", "Ada <ada@example.com>"),
    ("Subject", "Daily Buzz: 7 January 2026"),
    ("List-Unsubscribe", f"<https://news.example.com/u/{'t0ken' * 30}>"),
)


def everyday_run() -> PreviewFacts:
    """The shipped template's mail, findings of every level, and more people left out than the page lists."""
    lines = ("Daily Buzz: 7 January 2026", "In Case You Missed It…", "w" * 400)
    issue = dataclasses.replace(everyday_issue(), source="issues/2026-01-07.txt", source_lines=lines)
    rendered = Renderer(find_template("digest", [TEMPLATES]), PUBLICATION).render(issue)
    html, text = fill(rendered.html, HOLE_VALUES), fill(rendered.text, HOLE_VALUES)
    members = tuple(Member(n, f"k{n}", f"reader.{n}@example.com", f"Reader {n}") for n in range(2, 22))
    reasons = list(Exclusion)
    excluded = tuple(
        Excluded(f"gone.{n}@example.org", reasons[n % 4], "a reason in words", f"subscribers/old.csv:{n + 2}")
        for n in range(200)
    )
    left_out = {reason: 58 if number < 2 else 57 for number, reason in enumerate(reasons)}
    return PreviewFacts(
        title=issue.title,
        run="daily-buzz/2026-01-07",
        subject=issue.subject,
        preheader=issue.preheader,
        issue=issue,
        html=html,
        text=text,
        headers=HEADERS,
        html_bytes=len(html.encode()),
        text_bytes=len(text.encode()),
        findings=FINDINGS,
        checks_passed=38,
        audience=Audience(1000, left_out, members, excluded),
        tally=Tally(planned=1000, accepted=998, rejected=2, batches=10, reasons={"550 no such mailbox": 2}),
        content_hash=rendered.content_hash,
        provider="disk",
        recipient="reader.2@example.com",
    )


def hostile_run(attack: str) -> PreviewFacts:
    """`attack` as every text of the issue, the mail, the subscribers and the findings."""
    everyday = everyday_run()
    issue = Issue(title=attack, date=everyday.issue.date, edition=attack, source=attack, source_lines=(attack,))
    return dataclasses.replace(
        everyday,
        title=attack,
        run=attack,
        subject=attack,
        preheader=attack,
        issue=issue,
        html=f"<!doctype html><html><head><title>{attack}</title></head><body><p>{attack}</p></body></html>",
        text=attack,
        headers=(("From", attack), (attack, attack)),
        findings=tuple(Finding(attack, level, attack, attack, 1) for level in Level),
        audience=Audience(
            1,
            dict.fromkeys(Exclusion, 1),
            (Member(1, "k", attack, attack),),
            tuple(Excluded(attack, reason, attack, attack) for reason in Exclusion),
        ),
        tally=Tally(planned=1, rejected=1, batches=1, reasons={attack: 1}),
        content_hash=attack,
        provider=attack,
        recipient=attack,
        files=(attack,),
    )
