"""Addresses and names as they are written in config.toml: mailboxes, List-Ids, URLs, issue paths.

Pure functions; `ValueError` on bad text.
"""

from __future__ import annotations

import email.errors
import email.policy
import re
import string
from dataclasses import dataclass
from email.headerregistry import Address
from urllib.parse import urlsplit

NAME_PATTERN = r"^[a-z0-9-]+$"
#: RFC 2919: dot-atoms, a label and a domain at least.
LIST_ID_PATTERN = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)+$"
URL_PATTERN = r"^https?://[^/?#\s]+(/[^?#\s]*[^/?#\s])?$"
#: As SQLAlchemy reads it (`sqlalchemy.engine.url._parse_url`).
_SERVER = re.compile(
    r"(?:[^:/]*(?::[^@]*)?@)?(?P<host>\[[^\]/?]*\]?|[^/:?]*)(?P<port>:[^/?]*)?(?P<name>/[^?]*)?(?:\?.*)?", re.DOTALL
)
#: What nearly every address looks like. email-validator accepts all of these (a test asks it), up to 63 characters; it
#: refuses the last labels of names for special use (RFC 6761).
PLAIN_ADDRESS = re.compile(
    r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+"
    r"(?!(?:arpa|invalid|local|localhost|onion|test)\Z)[a-z]{2,}",
    re.ASCII | re.IGNORECASE,
)
DATABASE_PATTERN = r"^(sqlite:///.+|postgresql(\+psycopg)?://.+)$"
#: `Issue` reads these two formats.
ISSUE_SUFFIXES = (".txt", ".md")
#: The directives of strftime that an issue's path can be read back from; `issue.slots` has a pattern for each.
ISSUE_DIRECTIVES = frozenset("YmdyjbBaA")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An RFC 5322 mailbox: a display name, perhaps empty, and an address. `str()` gives it as a header takes it."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What stands after the last `@`."""
        return self.address.rpartition("@")[2]

    def __str__(self) -> str:
        return str(Address(self.name, addr_spec=self.address)) if self.name else self.address


def parse_mailbox(value: object) -> Mailbox:
    """`"Daily Buzz <buzz@news.example.com>"` or a bare address → Mailbox (RFC 5322, 3.4)."""
    if isinstance(value, Mailbox):
        return value
    expected = 'expected one mailbox such as "Daily Buzz <buzz@news.example.com>"'
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(expected)
    try:
        header = email.policy.default.header_factory("From", value)
        found: tuple[Address, ...] = header.addresses
        flaws = [flaw for flaw in header.defects if not isinstance(flaw, email.errors.ObsoleteHeaderDefect)]
        groups = any(group.display_name for group in header.groups)
    except (ValueError, LookupError, AttributeError, email.errors.MessageError):
        # the standard library's parser stumbles over some text that is no address at all
        raise ValueError(expected) from None
    if len(found) > 1 and "@" not in found[0].addr_spec:
        raise ValueError(f'{expected}; a name with a comma stands in quotes: "\\"Buzz, Daily\\" <buzz@example.com>"')
    if flaws or groups or len(found) != 1:
        raise ValueError(expected)
    _check_address(found[0].addr_spec, expected)
    return Mailbox(found[0].display_name, found[0].addr_spec)


def _check_address(address: str, expected: str) -> None:
    if len(address) <= 63 and PLAIN_ADDRESS.fullmatch(address):
        return
    # imported for the rest of them: it takes longer to load than all of the settings
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(address, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        why = str(error).rstrip(".")
        raise ValueError(f"{expected} ({why[0].lower()}{why[1:]})") from None


def parse_optional_mailbox(value: object) -> Mailbox | None:
    """As `parse_mailbox`; `""` gives None."""
    return None if value is None or value == "" else parse_mailbox(value)


def check_name(value: str) -> str:
    """A newsletter's or edition's name: it stands in file names, URLs and Message-IDs."""
    if not re.fullmatch(NAME_PATTERN, value):
        raise ValueError("a name here may hold small letters, digits and `-` only")
    return value


def check_list_id(value: str) -> str:
    """The bare identifier of RFC 2919, without `<>`: `daily-buzz.news.example.com`, at most 255 characters; or `""`."""
    if value and (len(value) > 255 or not re.fullmatch(LIST_ID_PATTERN, value)):
        raise ValueError(
            "expected a List-Id such as `daily-buzz.news.example.com`: words joined by dots, no `<>` or spaces"
        )
    return value


def check_url(value: str) -> str:
    """An http or https URL with a host; no user, query, fragment or trailing slash."""
    expected = 'expected a URL such as "https://news.example.com"'
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not re.fullmatch(r"[!-~]+", value):
        raise ValueError(f"{expected}, beginning with http:// or https://")
    if parts.username is not None:
        raise ValueError(f"{expected}, without a user name or password")
    if value.endswith("/"):
        raise ValueError(f"{expected}, without the slash at its end")
    if "?" in value or "#" in value:
        raise ValueError(f"{expected}, without `?` or `#`")
    return value


def check_optional_url(value: str) -> str:
    """An http or https URL of any shape, or `""`."""
    if value and not re.fullmatch(r"https?://[!-~]+", value):
        raise ValueError('expected a URL beginning with http:// or https://, or "" for none')
    return value


def check_database_url(value: str) -> str:
    """`sqlite:///var/newsletter.db` (a path relative to the config's folder) or `postgresql+psycopg://…`."""
    if not re.fullmatch(DATABASE_PATTERN, value) or value.startswith("sqlite:///:memory:"):
        raise ValueError(
            'expected "sqlite:///PATH" (three slashes and a file) or "postgresql+psycopg://USER@HOST/NAME"'
        )
    if value.startswith("postgresql"):
        _check_server(value.partition("://")[2])
    return value


def _check_server(rest: str) -> None:
    """What stands behind `postgresql://`, read as SQLAlchemy reads it. The messages hold nothing of it: a password."""
    found = _SERVER.fullmatch(rest)
    assert found is not None  # every part may be missing
    if "@" in found["host"] + (found["name"] or ""):
        raise ValueError(
            "it cannot be told where its password ends: percent-encode user and password (%40 for @, %2F for /,"
            " %3A for :)"
        )
    port = (found["port"] or ":0").removeprefix(":")
    if "[" in found["host"] and not found["host"].endswith("]"):
        raise ValueError("the `[` of an IPv6 address is not closed: postgresql+psycopg://USER@[::1]:5432/NAME")
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise ValueError(
            "the port is no number up to 65535: postgresql+psycopg://USER@HOST:5432/NAME, with user and password"
            " percent-encoded (%40 for @, %2F for /, %3A for :)"
        )


def check_domain(value: str) -> str:
    """A domain name such as `example.net`, in small letters."""
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", value):
        raise ValueError("expected a domain in small letters such as `example.net`")
    return value


def check_envelope_from(value: str) -> str:
    """An address, or a VERP pattern with `{token}` in its local part; or `""`. The provider looks closer."""
    if value and not re.fullmatch(r"[!-?A-~]+@[A-Za-z0-9.-]+", value):
        raise ValueError('expected an address such as "bounces+{token}@news.example.com", or "" for the From address')
    return value


#: As many characters as the token has (`delivery.return_paths`).
_TOKEN_LENGTH = 40
_MAILTO = re.compile(r"[A-Za-z0-9._+=-]*\{token\}[A-Za-z0-9._+=-]*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


def check_unsubscribe_mailto(value: str) -> str:
    """An address with `{token}` once in its local part; or `""`. It stands in a URI, so it holds plain characters."""
    if value and not _MAILTO.fullmatch(value):
        raise ValueError('expected an address such as "unsubscribe+{token}@news.example.com", or "" for none')
    if len(value.rpartition("@")[0].replace("{token}", "t" * _TOKEN_LENGTH)) > 64:
        raise ValueError(f"with {_TOKEN_LENGTH} characters for {{token}}, more than 64 stand before the @")
    return value


def check_issue_path(value: str) -> str:
    """Where an issue's file stands under `paths.issues`: `{date:%Y-%m-%d}.txt`, also with `{edition}`.

    The path names one day, with its year, and stays inside its folder.
    """
    try:
        fields = [one for one in string.Formatter().parse(value) if one[1] is not None]
    except ValueError:
        raise ValueError('unmatched braces; expected a path such as "{date:%Y-%m-%d}.txt"') from None
    if "{{" in value or "}}" in value:
        raise ValueError('braces stand around {date} and {edition} only, such as "{date:%Y-%m-%d}.txt"')
    letters: set[str] = set()
    for _, name, spec, conversion in fields:
        if name not in ("date", "edition") or conversion or (name == "edition" and spec):
            raise ValueError("only {date}, with a format such as {date:%Y-%m-%d}, and {edition} can stand in braces")
        found = re.findall("%(.?)", spec or "%Y%m%d", re.DOTALL) if name == "date" else []
        if "{" in (spec or "") or not ISSUE_DIRECTIVES.issuperset(found):
            raise ValueError("a date in an issue's path is written with %Y %m %d %y %j %b %B %a %A only")
        letters.update(found)
    if value.count("{edition}") > 1:
        raise ValueError("{edition} stands in an issue's path once at most")
    if not value.endswith(ISSUE_SUFFIXES):
        raise ValueError('an issue\'s path ends in ".txt" or ".md", such as "{date:%Y-%m-%d}.txt"')
    if value.startswith("/") or "\\" in value or not value.isprintable() or ".." in value or "//" in value:
        raise ValueError("an issue's path stays under `paths.issues`: no leading `/`, no `..` or `//`, no backslash")
    if not _is_whole_date(letters):
        raise ValueError('an issue\'s path must hold the whole date, such as "{date:%Y-%m-%d}.txt"')
    return value


def _is_whole_date(letters: set[str]) -> bool:
    day_of_month = "d" in letters and letters & {"m", "b", "B"}
    return bool(letters & {"Y", "y"} and (day_of_month or "j" in letters))


def check_optional_mailbox_url(url: str) -> str:
    """`maildir:PATH`, `mbox:PATH`, `imaps://user@host[:port]/folder` (`imap` on this machine alone), or `""`."""
    scheme, colon, rest = url.partition(":")
    if not url or (scheme in {"maildir", "mbox"} and rest.strip()):
        return url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    good = colon and parts.username and parts.hostname and parts.password is None and (port is None or port > 0)
    if not good or parts.scheme not in ({"imaps", "imap"} if here else {"imaps"}):
        raise ValueError(
            'expected "maildir:PATH", "mbox:PATH" or "imaps://USER@HOST/FOLDER", the password apart from it, or ""'
        )
    return url
