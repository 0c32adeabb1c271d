"""Nothing that could be a secret is printed: lines of the file and URLs are masked before they are shown."""

from __future__ import annotations

import re

MASK = "…"
#: Keys whose values may be secret, misspelt ones and whole URLs included.
_TELLTALE = r"key|kye|secret|pass|pasw|pwd|token|auth|cred|(?<!base_)url"
_SECRET_KEY = re.compile(rf"[\w\"'.-]*(?:{_TELLTALE})[\w\"'.-]*[ \t]*=[ \t]*", re.IGNORECASE)
_QUOTED = re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*(?:"""|$)|\'\'\'.*?(?:\'\'\'|$)|"(?:[^"\\]|\\.)*"?|\'[^\']*\'?')
#: A reference to a secret, as it should be written.
_REFERENCE = re.compile(r"\{[ \t]*(?:env|file)[ \t]*=[ \t]*(?:\"[^\"\\]*\"|'[^']*')[ \t]*\}")
_PLAIN = re.compile(r"[^\[{,}\]#]*")
_USER_INFO = re.compile(r"://[^/\s\"'@]*@")
_ASSIGNS = re.compile(r"[ \t]*(?:\[|[\w\"'.-]+(?:[ \t]*\.[ \t]*[\w\"'-]+)*[ \t]*=)")


def mask_line(line: str, *, all_texts: bool = False) -> str:
    """A line of config.toml with every text masked that may be a secret; variables' and files' names stay.

    `all_texts` masks every text on it, and so does an inline table of several keys.
    """
    if not _ASSIGNS.match(line) and not line.lstrip().startswith("#"):
        # a line inside a longer text or list: what it belongs to cannot be seen from here
        return _mask_texts(line) if re.search(r"[\"'\]},]", line) else MASK if line.strip() else line
    if all_texts or ("{" in line and line.count("=") > 2):
        key, equals, value = line.partition("=")
        return key + equals + _mask_texts(value)
    shown, at = [], 0
    for found in _SECRET_KEY.finditer(line):
        if found.start() < at:
            continue
        end = _end_of_value(line, found.end())
        shown += [line[at : found.end()], _mask_value(line[found.end() : end])]
        at = end
    shown.append(line[at:])
    return _USER_INFO.sub(f"://{MASK}@", "".join(shown))


def mask_broken_line(line: str, harmless: frozenset[str], *, inside_text: bool) -> str:
    """A line that is no TOML: shown whole only as a header, a bare word or one of the `harmless` keys.

    Where its quotes are wrong nobody knows what belongs to a secret, so all the rest is masked.
    """
    if inside_text:
        return MASK
    assigned = re.match(r"([ \t]*(?:[\w\"'-]+[ \t]*\.[ \t]*)*([\w\"'-]+)[ \t]*=[ \t]*)(.*)", line)
    if assigned:
        before, name, value = assigned.groups()
        return line if name.strip("\"'") in harmless and "{" not in value else before + MASK
    bare = line.lstrip().startswith("[") or not re.search(r"[\"'{},=]", line)
    return line if bare else MASK


def mask_url(url: str) -> str:
    """A URL with its user, password, path and query masked as far as they can carry a secret: scheme and host stay."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/@\s]*@)?([^/?#\s@]*)(.*)", url, re.DOTALL)
    if not found:
        return MASK
    scheme, host, rest = found.groups()
    if scheme.startswith("http"):
        return f"{scheme}{host}" + (f"/{MASK}" if rest.strip("/") else "")
    return f"{scheme}{MASK}"


def mask_database_url(url: str) -> str:
    """A database's URL without its user, password and parameters; an SQLite file's stays whole."""
    if url.startswith("sqlite"):
        return url.partition("?")[0]
    scheme, _, rest = url.partition("://")
    location = rest.rpartition("@")[2].partition("?")[0]
    return f"{scheme}://{MASK}@{location}" if "@" in rest else f"{scheme}://{location}"


def _end_of_value(line: str, start: int) -> int:
    """Where a value that begins at `start` ends: its closing quote, or the line; a list's own end is not looked for."""
    whole = _REFERENCE.match(line, start) or _QUOTED.match(line, start) or _PLAIN.match(line, start)
    return whole.end() if whole and whole.end() > start else len(line)


def _mask_value(value: str) -> str:
    if _REFERENCE.fullmatch(value) or re.fullmatch(r"[ \t]*(\d{1,4}|true|false)?[ \t]*", value):
        return value
    return _mask_texts(value) if value[:1] in ("[", "{", '"', "'") else MASK


def _mask_texts(text: str) -> str:
    return _QUOTED.sub(lambda found: found[0][0] + MASK + (found[0][-1] if len(found[0]) > 1 else ""), text)
