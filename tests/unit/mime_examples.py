"""A small issue with every kind of hole, messages made of it, and how a mail client reads them back."""

from __future__ import annotations

import datetime as dt
import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from html.parser import HTMLParser

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

HOSTILE = {
    "script element": "<script>alert(1)</script>",
    "breaks out of an attribute": '"><img src=x onerror=alert(1)>',
    "smuggles a header": "Ada\r\nBcc: victim@example.net\r\n\r\nbody",
    "smuggles a header with bare LF": "Ada\nBcc: victim@example.net",
    "a placeholder": "z0123abcdh000z",
    "template code": "{{7*7}} {% raw %} ${7*7} #{7}",
    "an encoded-word": "=?utf-8?q?Bcc=3A_victim=40example=2Enet?=",
    "encoded-words in a row": "=?utf-8?b?QQ==?= =?utf-8?b?Qg==?=",
    "the boundary": f"--{BOUNDARY}",
    "the end of the message": f"\r\n--{BOUNDARY}--\r\n",
    "SMTP commands": ".\r\n.\r\nQUIT\r\n",
    "a mailbox line": "From ada@example.org Wed Jan  7 06:30:00 2026",
    "500 characters": "Maximiliane " * 41 + "Von Hohe",
    "500 characters, no blank": "x" * 500,
    "500 characters, four bytes each": "\U0001f600" * 500,
    "NUL": "Ada\x00 Lovelace",
    "a lone surrogate": "Ada \ud83d Lovelace",
    "right-to-left override": "Ada \u202egpj.exe\u202c",
    "isolates and marks": "\u2066Ada\u2069 \u200f\u05e2\u05d3\u05d4\u200f",
    "emoji with joiners": "Team \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \U0001f1ed\U0001f1f0",
    "combining marks": "Z\u0351\u034d\u0301\u0316\u033aa\u0334\u0321\u030alg\u0353\u0349o\u0300",
    "a mark at the start": "\u0338Ada",
    "quotes": "\"Ada\" 'Lovelace' `x` \u201cy\u201d",
    "comma and semicolon": "Lovelace, Ada; Countess",
    "angle brackets": "Ada <victim@example.net>",
    "a group": "friends: a@example.net, b@example.net;",
    "comment": "Ada (the \\) countess",
    "backslashes": 'Ada\\ \\\\" \\',
    "tabs": "\tAda\t\tLovelace\t",
    "only spaces": " \t\u00a0\u3000 ",
    "nothing": "",
    "Chinese": "\u738b\u5c0f\u660e \u9673\u5927\u6587",
    "Arabic": "\u0645\u062d\u0645\u062f \u0639\u0628\u062f \u0627\u0644\u0644\u0647",
    "Persian with a non-joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Turkish and German": "I\u015f\u0131l Gro\u00df\u00f6",
    "an entity": "&lt;b&gt; &amp;amp; &#60;",
    "soft breaks": "a=\r\nb=3D=",
    "line separators": "Ada\u2028Bcc: x\u2029y\x85z\x0b\x0c\x1c",
    "a url": "https://evil.example/?a=1&b=2",
    "percent codes": "%s %d %(name)s {name} %0d%0aBcc:x",
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
