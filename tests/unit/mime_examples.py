"""A small issue with every kind of hole, messages made of it, and how a mail client reads them back."""

from __future__ import annotations

import datetime as dt
import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from html.parser import HTMLParser

from hostile_names import HOSTILE_NAMES

from newsletter.rendering.letter import Letterhead, message_id
from newsletter.rendering.mime import MessageEncoder
from newsletter.rendering.model import Hole, HoleContext, Holed, RenderedIssue

HEADERS = [
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "MIME-Version",
    "Content-Type",
]

HTML = Holed(
    static=(
        '<!DOCTYPE html>\n<html lang="en">\n<body title="',
        '">\n<p>Good morning <b id="who">',
        "</b>, caf\u00e9 \u201cquoted\u201d \U0001f4f0.</p>\n"
        + '.a line that begins with a dot\nFrom here, a line that begins like a mailbox  \n\t\n<p class="a=b">'
        + "word " * 60
        + "</p>\n"
        + "x" * 200
        + '\n<a href="',
        '">Unsubscribe</a>\n</body>\n</html>\n',
    ),
    holes=(
        Hole("name", HoleContext.HTML),
        Hole("name", HoleContext.HTML),
        Hole("unsubscribe_url", HoleContext.HTML_URL),
    ),
)
TEXT = Holed(
    static=("", "\n\nGood morning ", ",\n.dot\nFrom x\nblank at the end \ncaf\u00e9\n\nLeave: ", ""),
    holes=(
        Hole("name", HoleContext.TEXT),
        Hole("name", HoleContext.TEXT),
        Hole("unsubscribe_url", HoleContext.TEXT_URL),
    ),
)
ISSUE = RenderedIssue(subject="Daily Buzz: 7 January 2026", preheader="", html=HTML, text=TEXT, content_hash="5a" * 32)
LETTERHEAD = Letterhead(
    sender="Daily Buzz <buzz@news.example.com>",
    reply_to="editor@example.com",
    list_id="daily-buzz.news.example.com",
    list_name="Daily Buzz",
    feedback_id="2026-01-07:daily-buzz:issue:DailyBuzz",
    date=dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.timezone(dt.timedelta(hours=8))),
)
ENCODER = MessageEncoder(ISSUE, LETTERHEAD)
URL = "https://news.example.com/u/" + "eyJhbGciOi.J9" * 10 + "?l=daily-buzz&v=1=="
ID = message_id("daily-buzz/2026-01-07", "7", "news.example.com")


def make(
    name: str = "Ada", address: str = "ada@example.org", url: str = URL, encoder: MessageEncoder = ENCODER
) -> bytes:
    return encoder.message(
        to_address=address,
        to_name=name,
        message_id=ID,
        unsubscribe_url=url,
        values={"name": name, "unsubscribe_url": url},
    )


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def body(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


#: The real one: a name that is the boundary must not end a part.
BOUNDARY = str(parsed(make())["Content-Type"].params["boundary"])

HOSTILE = HOSTILE_NAMES | {
    "the boundary": f"--{BOUNDARY}",
    "the end of the message": f"\r\n--{BOUNDARY}--\r\n",
}


def recipient_of(raw: bytes) -> tuple[str, str]:
    """Display name and address of `To`.

    Two encoded-words in a row are read by the older decoder: the newer one puts a blank between them until Python 3.13
    (gh-128110), which RFC 2047, section 6.2, forbids.
    """
    (recipient,) = parsed(raw)["To"].addresses
    field = re.search(rb"^To: (.*\r\n(?: .*\r\n)*)", raw, re.MULTILINE)
    assert field is not None
    phrase = field[1].decode("ascii").rpartition("<")[0].strip()
    words = len(re.findall(r"=\?utf-8\?", phrase))
    name = str(make_header(decode_header(phrase))) if words > 1 else recipient.display_name
    return name, recipient.addr_spec


class Reader(HTMLParser):
    """What a mail client would make of the holes in the HTML part."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.title = self.who = self.href = ""
        self._in_who = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_who = tag == "b"
        found = dict(attrs)
        self.title = found.get("title") or self.title
        self.href = found.get("href") or self.href

    def handle_endtag(self, tag: str) -> None:
        self._in_who = False

    def handle_data(self, data: str) -> None:
        if self._in_who:
            self.who += data
