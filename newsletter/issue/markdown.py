"""Markdown issues: `#` the title, `##` a section, `###` a story, and CommonMark in between.

Lists, quotations and the like become one block paragraph each. A horizontal rule is decoration and left out: the
template draws its own. Underlined headings and code by indentation are switched off, since pasted text means neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from newsletter.errors import IssueError, Place
from newsletter.issue.body import MAX_BLOCKS, Body, BodyBuilder
from newsletter.issue.decode import clean
from newsletter.issue.model import Image, Link, Paragraph
from newsletter.issue.safe_html import Fragment, TooDeepError, sanitise
from newsletter.issue.story_links import Content, closing_url

#: A Markdown issue is at most this long (characters): Gmail clips at about 102 KB, and parsing takes seconds a MB.
MAX_LENGTH = 250_000
#: Lines that are not blank, and characters of one paragraph: both bound the parser's time.
_MAX_LINES = MAX_BLOCKS // 2
_MAX_PARAGRAPH = 10_000
#: Of these in the whole file: each may begin something, and the parser looks far ahead to see.
_OPENERS = "[<*_`"
_MAX_OPENERS = 10_000
#: Lists and quotations inside one another, as markdown-it counts them (a list counts twice).
_MAX_NESTING = 20

_NO_TITLE = ("a Markdown issue begins with its title", 'Write "# Daily Buzz: 7 January 2026" on the first line.')
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
#: Where a link may lead; a relative one is left for the preflight to report.
_LINK_SCHEMES = frozenset({"https", "http", "mailto", ""})


class _TooLongError(ValueError):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _refuse_long_paragraphs(state: StateCore) -> None:
    for token in state.tokens:
        if token.type == "inline" and len(token.content) > _MAX_PARAGRAPH:
            raise _TooLongError(_line(token))


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        """Let each link through: the library would turn a refused one into text, and here an error says where it is."""
        del url
        return True


def _parser() -> MarkdownIt:
    # The parser silently drops what is nested deeper than maxNesting: allow more than is accepted, then refuse.
    parser = _Parser("commonmark", {"maxNesting": _MAX_NESTING + 10}).disable(["code", "lheading"])
    parser.core.ruler.before("inline", "refuse_long_paragraphs", _refuse_long_paragraphs)
    return parser


_MARKDOWN = _parser()


def read_markdown(lines: Sequence[str], first: int, source: str) -> Body:
    """The issue in `lines[first:]`. Raises IssueError with the line in the file."""
    return _Reader(lines, first, source).read()


class _Reader:
    """Reads one file; knows its lines, for the places of errors and links."""

    def __init__(self, lines: Sequence[str], first: int, source: str) -> None:
        self._lines = lines
        self._first = first
        self._source = source

    def read(self) -> Body:
        title: Token | None = None
        body = BodyBuilder()
        title_text = ""
        for block in self._blocks():
            token = block[0]
            if token.type == "hr":
                continue
            if title is None:
                if token.type != "heading_open" or token.tag != "h1":
                    raise self._error(_line(token), *_NO_TITLE)
                title, title_text = token, self._heading(block, "title")
            elif token.type == "heading_open":
                self._open(block, body)
            else:
                for content in self._contents(block):
                    body.content(content)
        if title is None:
            raise self._error(self._first + 1, *_NO_TITLE)
        return body.finish(title_text, _line(title))

    def _open(self, block: Sequence[Token], body: BodyBuilder) -> None:
        token = block[0]
        line = _line(token)
        if token.tag == "h1":
            raise self._error(
                line, "a second title: an issue has one # heading", "Write ## for a section, ### for a story."
            )
        if token.tag == "h2":
            body.section(self._heading(block, "section"), line)
        elif token.tag == "h3":
            self._judge_targets(block[1].children or (), line, line)
            fragment = self._fragment(block[1:-1], line)
            if len(fragment.links) > 1 or fragment.images:
                raise self._error(
                    line, "a headline holds one link at most and no image", "Put them into the text below it."
                )
            link = fragment.links[0][0] if fragment.links else None
            body.story(self._words(fragment, line, "story"), line, link, line if link else 0)
        else:
            raise self._error(
                line,
                f"a heading of level {token.tag[1:]}: an issue knows # title, ## section and ### story",
                "Write ### for a story, or **bold** text inside one.",
            )

    def _heading(self, block: Sequence[Token], what: str) -> str:
        line = _line(block[0])
        fragment = self._fragment(block[1:-1], line)
        if fragment.links or fragment.images:
            raise self._error(line, f"a {what} holds no link and no image", "Put them into the text of a story.")
        return self._words(fragment, line, what)

    def _words(self, fragment: Fragment, line: int, what: str) -> str:
        words = clean(" ".join(fragment.text.split("\n")))
        if not words:
            raise self._error(line, f"a heading without text, where a {what} begins", "Write its text behind the #.")
        return words

    def _blocks(self) -> Iterator[list[Token]]:
        """The tokens of each block at the top level."""
        text = "\n".join([""] * self._first + list(self._lines[self._first :]))  # blank lines keep the numbers right
        filled = [number for number, line in enumerate(self._lines[self._first :], self._first + 1) if line.strip()]
        counted = (
            (len(text), MAX_LENGTH),
            (len(filled), _MAX_LINES),
            (sum(map(text.count, _OPENERS)), _MAX_OPENERS),
        )
        if any(count > most for count, most in counted):
            raise self._error(
                filled[_MAX_LINES] if len(filled) > _MAX_LINES else 1,
                f"a Markdown issue has at most {MAX_LENGTH:,} characters, {_MAX_LINES:,} lines "
                f"and {_MAX_OPENERS:,} of {' '.join(_OPENERS)}",
                "Is this the right file? Gmail clips a mail at about 102,000 bytes.",
            )
        try:
            tokens = _MARKDOWN.parse(text)
        except _TooLongError as error:
            raise self._error(
                error.line, f"a paragraph of more than {_MAX_PARAGRAPH:,} characters", "Put blank lines into it."
            ) from None
        block: list[Token] = []
        for token in tokens:
            block.append(token)
            if token.level > _MAX_NESTING:
                raise self._error(_line(token, block[0]), "lists or quotations nested too deep", "Make it flatter.")
            if token.level and token.type == "heading_open":
                raise self._error(_line(token), "a heading inside a list or quotation", "Use **bold** text there.")
            if token.level == 0 and token.nesting <= 0:
                yield block
                block = []

    def _contents(self, block: Sequence[Token]) -> Iterator[Content]:
        line = _line(block[0])
        whole = self._paragraph(block, line)
        if whole is None:
            return
        if block[0].type != "paragraph_open":
            yield Content(whole, whole)
            return
        children = block[1].children or []
        closing = closing_url(whole.text)
        tail = _bare_url_at_end(children) if closing else None
        if closing is None or tail is None:
            yield Content(whole, whole)
        elif closing.is_alone:
            yield Content(whole, None, closing.url)
        elif closing.can_go:
            shorter = Token("inline", "", 0, children=tail, map=block[1].map)
            yield Content(whole, self._paragraph([block[0], shorter, block[2]], line), closing.url)
        else:
            yield Content(whole, whole, closing.url)

    def _paragraph(self, block: Sequence[Token], line: int) -> Paragraph | None:
        inner = block[1:-1] if block[0].type == "paragraph_open" else block
        end = max((token.map[1] for token in block if token.map), default=line)
        for token in block:
            self._judge_targets(token.children or (), line, end)
        fragment = self._fragment(inner, line)
        if not fragment.text.strip() and not fragment.images:
            return None  # a comment, or HTML of which nothing may stay
        return Paragraph(
            text=fragment.text if fragment.block else fragment.text.strip(),
            html=fragment.html,
            line=line,
            links=tuple(Link(url, text, self._line_of(url, line, end)) for url, text in fragment.links),
            images=tuple(self._images(fragment, line, end)),
            block=fragment.block,
        )

    def _images(self, fragment: Fragment, line: int, end: int) -> Iterator[Image]:
        for image in fragment.images:
            self._judge_image(image.url, self._line_of(image.url or "<img", line, end))
            at = self._line_of(image.url, line, end)
            yield Image(image.url, " ".join(image.alt.split()), image.width, at)

    def _judge_targets(self, children: Sequence[Token], line: int, end: int) -> None:
        """Refuse what the sanitiser would take off without a word."""
        for token in children:
            if token.type == "image":
                url = str(token.attrGet("src") or "")
                self._judge_image(url, self._line_of(url, line, end))
            elif token.type == "link_open":
                url = str(token.attrGet("href") or "")
                if _scheme(url) not in _LINK_SCHEMES:
                    raise self._error(
                        self._line_of(url, line, end),
                        f"the link {_shown(url)} is none that a mail can carry",
                        "Write an https:// address, or mailto: with an e-mail address.",
                    )

    def _judge_image(self, url: str, line: int) -> None:
        if _is_https(url):
            return
        scheme = _scheme(url)
        if not url:
            what = "has no address that can stay"
        elif scheme == "http":
            what = "is an http URL, not https"
        elif scheme == "data":
            what = "is written into the text (data:); mail clients do not show it"
        elif scheme in {"", "file"} or len(scheme) == 1:  # one letter is a drive: C:\\pictures
            what = "is a local path; a subscriber's mail client cannot open it"
        else:
            what = "is not an https URL"
        raise self._error(line, f"the image {_shown(url)} {what}", "Upload it and write its https:// address.")

    def _fragment(self, tokens: Sequence[Token], line: int) -> Fragment:
        try:
            return sanitise(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))
        except TooDeepError:
            raise self._error(line, "HTML nested too deep, or never closed", "Close each tag that is opened.") from None

    def _line_of(self, url: str, line: int, end: int) -> int:
        """The line between `line` and `end` on which `url` stands, as it is or before it was quoted, else `line`."""
        forms = {url, unquote(url)} - {""}
        lines = range(line, end + 1)
        return next((number for number in lines if any(form in self._lines[number - 1] for form in forms)), line)

    def _error(self, line: int, message: str, hint: str) -> IssueError:
        return IssueError(message, place=Place(self._source, line), hint=hint)


def _bare_url_at_end(children: Sequence[Token]) -> list[Token] | None:
    """The inline tokens without the bare URL or `<URL>` they end with; None if a written link or the like ends them."""
    rest = list(children)
    if len(rest) >= 3 and rest[-1].type == "link_close" and rest[-1].markup == "autolink":
        return rest[:-3]
    if not rest or rest[-1].type != "text":
        return None
    words = rest[-1].content.rstrip().rsplit(None, 1)
    if closing_url(words[-1] if words else "") is None:
        return None
    kept = rest[-1].copy(content=words[0] if len(words) > 1 else "")
    return [*rest[:-1], kept]


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no IPv6 address
        return False
    return parts.scheme == "https" and _HOST.fullmatch(parts.netloc.rpartition("@")[2]) is not None


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return "?"


def _shown(url: str) -> str:
    url = unquote(url)
    return f'"{url[:60]}…"' if len(url) > 60 else f'"{url}"'


def _line(token: Token, otherwise: Token | None = None) -> int:
    place = token.map or (otherwise.map if otherwise else None)
    return place[0] + 1 if place else 1
