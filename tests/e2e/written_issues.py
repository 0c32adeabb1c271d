"""Issues to look at in a browser: an everyday one, and one with everything an editor can put in."""

from __future__ import annotations

import datetime as dt
from html import escape
from itertools import cycle, islice

from newsletter.issue.model import Image, Issue, Link, Paragraph, Section, Story
from newsletter.rendering.model import Publication

PUBLICATION = Publication(
    name="daily-buzz",
    title="Daily Buzz",
    site_name="Daily Buzz",
    base_url="https://news.example.com",
    language="en",
    postal_address="1 Example Street, Example City",
    sender="Daily Buzz <buzz@news.example.com>",
    sections=("Top News", "Top Business", "Economy & Markets", "Corporate", "In Case You Missed It"),
)

HOLE_VALUES = {
    "name": "Ada",
    "email": "a.very.long.name.of.somebody.who.reads.the.news.each.morning@mail.department.example.com",
    "unsubscribe_url": "https://news.example.com/u/1",
    "preferences_url": "https://news.example.com/p/1",
    "view_url": "https://news.example.com/v/1",
}

CHART = "https://images.example.org/exports.png"

_SENTENCES = (
    "The ferry company said on Tuesday that it would add 14 sailings a week from March.",
    "Passenger numbers rose 12 percent last year to 3.4 million, the most since 2008.",
    'A spokeswoman called the plan "a modest answer to a loud request" from the islands.',
    "María González, who runs the harbour café in Port Élan, said she would open an hour earlier.",
    "The timetable still needs the approval of the coastal authority, which meets on 20 January.",
    "Fuel makes up about a third of the cost of each crossing, according to the annual report.",
    "Two of the five ships are due for battery engines by 2028, at a price of US$61 million.",
    "Residents of the smaller islands have asked for a night service since the airfield closed.",
)
_HEADLINES = (
    "Ferries to Run Every Hour From March",
    "Old Observatory Opens Its Dome to Schools for the First Time",
    "Bakers Agree on a Price for Rye",
    "'Quiet Carriage' Trial Extended to All Night Trains",
    "River Level Falls Below the 1976 Mark, Ending Barge Traffic",
)


def plain(text: str) -> Paragraph:
    """A paragraph without markup."""
    return Paragraph(text=text, html=escape(text, quote=False))


def story(number: int, *, paragraphs: int = 1, sentences: int = 7) -> Story:
    """A made-up story of ordinary length (about 600 characters a paragraph)."""
    words = islice(cycle(_SENTENCES), number % len(_SENTENCES), None)
    texts = [" ".join(islice(words, sentences)) for _ in range(paragraphs)]
    return Story(_HEADLINES[number % len(_HEADLINES)], tuple(plain(text) for text in texts))


def everyday_issue() -> Issue:
    """Sections of 4, 2, 4, 7 and 0 stories, two of them with two paragraphs; no link and no image."""
    sections, number = [], 0
    for title, count in zip(PUBLICATION.sections, (4, 2, 4, 7, 0), strict=True):
        stories = tuple(story(number + n, paragraphs=2 if number + n in {1, 4} else 1) for n in range(count))
        sections.append(Section(title, stories))
        number += count
    return Issue(
        title="Daily Buzz: 7 January 2026",
        date=dt.date(2026, 1, 7),
        subject="Daily Buzz: 7 January 2026",
        preheader="Ferries to Run Every Hour From March · Old Observatory Opens Its Dome",
        sections=tuple(sections),
    )


def full_issue() -> Issue:
    """Everything at once: a note, an edition, untitled text, links, lists, a quotation, an image, very long words."""
    report, tuesday = Link("https://example.org/report", "a long report"), Link("https://example.org/t", "Tuesday")
    everything = (
        Paragraph(
            "The ministry published a long report and a summary on Tuesday.",
            f'The ministry published <a href="{report.url}">{report.text}</a> and <em>a <strong>summary</strong></em>'
            f' on <a href="{tuesday.url}">{tuesday.text}</a>.',
            links=(report, tuesday),
        ),
        Paragraph("- Rye\n- Oats", "<ul><li>Rye</li><li>Oats</li></ul>", block=True),
        Paragraph("1. First\n2. Second", "<ol><li>First</li><li>Second</li></ol>", block=True),
        Paragraph("Nobody asked the river.", "<blockquote><p>Nobody asked the river.</p></blockquote>", block=True),
        Paragraph(
            "Port | Price",
            "<table><tr><th>Port</th><th>Price</th></tr><tr><td>Élan</td><td>3.40</td></tr></table>",
            block=True,
        ),
        Paragraph(
            "Exports by month",
            f'<img src="{CHART}" alt="Exports by month" width="1000"/>',
            images=(Image(CHART, "Exports by month", 1000),),
        ),
    )
    long_host = "https://www.a-newspaper-with-quite-a-long-name.and-a-department.example.org/2026/01/07/?a=1&b=2"
    sections = [
        Section("", (Story("", (plain(_SENTENCES[0]),)), Story("A Story Before the First Section", (plain("Yes."),)))),
        Section("Top News", (story(0, paragraphs=2), Story("Everything at Once", everything, long_host))),
        Section(
            "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
            (Story("Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz " * 2, (plain("w" * 150),)),),
        ),
        Section("Economy & Markets", (Story("A <b>bold</b> & \"quoted\" 'claim' > 5", (plain("1 < 2 && 3 > 2"),)),)),
        Section("Corporate", (Story("Only This", ()), Story("And That", (), "https://example.net/that"), story(3))),
        Section("In Case You Missed It…", (Story("Tea Exports Set a Record"), Story("Museum Reopens", (), CHART))),
        Section("Weather", (Story("", (plain("Cloudy, with showers late in the afternoon."),)),)),
    ]
    return Issue(
        title="Daily Buzz: 7 January 2026",
        date=dt.date(2026, 1, 7),
        edition="evening",
        subject='Ferries & "Rye"',
        preheader="A preheader that is much longer than the ninety characters that a mail client shows of it, at most",
        note=(plain("Good evening. Markets are shut in two places."), everything[0]),
        sections=tuple(sections),
    )
