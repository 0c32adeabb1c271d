"""What the links in mails need: a public address, and the key that signs them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from newsletter.doctor.model import Finding, Result, Status, Surroundings
from newsletter.errors import NewsletterError
from newsletter.preflight.public_addresses import address_of, why_not_public
from newsletter.settings.secret_key import GENERATED, HOW_TO_MAKE, site_secret

_URL, _KEY = "base-url", "secret-key"
_TIMEOUT = 5.0


def check_base_url(around: Surroundings) -> Iterator[Result]:
    """`site.base_url` is https, which one-click unsubscription demands (RFC 8058), and answers."""
    url = around.loaded.settings.site.base_url
    parts = urlsplit(url)
    host = parts.hostname or ""
    public = "Set `site.base_url` to the https address under which the world reaches `newsletter web`."
    if host == "localhost" or (address_of(host) and why_not_public(address_of(host))):
        # good for a dry run; a live send refuses all but loopback by itself
        live = any(one.schedule.enabled for one in around.loaded.settings.newsletters.values())
        said = f"{url} is reached from this machine or network alone, and every link in a mail begins with it"
        yield Finding(_URL, Status.FAIL if live else Status.WARN, said, public)
    elif parts.scheme != "https":
        said = f"{url} is not https, and one-click unsubscription must be (RFC 8058)"
        yield Finding(_URL, Status.FAIL, said, public)
    elif around.online and (trouble := _trouble(url)):
        yield Finding(_URL, Status.WARN, f"{url} {trouble}", "Links in mails lead there: is the web server up?")
    else:
        yield Finding(
            _URL, Status.PASS, url if around.online else f"{url}; whether it answers was not asked (--offline)"
        )


def _trouble(url: str) -> str:
    try:
        status = httpx.head(url, timeout=_TIMEOUT, follow_redirects=False).status_code
    except httpx.HTTPError as error:
        return f"cannot be reached ({type(error).__name__})"
    return f"answers {status}" if status >= 500 else ""


def check_secret_key(around: Surroundings) -> Iterator[Result]:
    """The key that signs links is there, is the one that is meant, and is nobody else's to read."""
    loaded, reference = around.loaded, around.loaded.settings.site.secret_key
    generated = loaded.resolve(GENERATED)
    on_sqlite = loaded.settings.database.url.startswith("sqlite")
    if reference is not None and reference.env and reference.env not in around.environ and on_sqlite:
        used = f"the generated one in {GENERATED} is used" if generated.exists() else "one will be generated"
        said = f"`site.secret_key` names the variable {reference.env}, which is not set here; {used}"
        do = (
            f"Set {reference.env} wherever newsletter runs, or take `secret_key` out: a process that has it and one "
            "that has not sign with different keys. To go on with the generated key, set it to what that file holds."
        )
        yield Finding(_KEY, Status.WARN, said, do)
        return
    if reference is None and on_sqlite and not generated.exists():
        yield Finding(_KEY, Status.PASS, f"none yet: it is generated into {GENERATED} when it is first needed")
        return
    try:
        site_secret(loaded, around.environ)
    except NewsletterError as error:
        do = error.hint or f"Make one with {HOW_TO_MAKE}, and keep it where `site.secret_key` says."
        is_missing = reference is None or bool(reference.env and reference.env not in around.environ)
        if is_missing and not on_sqlite and generated.is_file():
            do = (
                f'Write secret_key = {{ file = "{GENERATED}" }} under [site], and copy that file to every machine: '
                "links in mails that are out go on working by it."
            )
        yield Finding(_KEY, Status.FAIL, str(error), do)
        return
    file = generated if reference is None else loaded.resolve(reference.file) if reference.file else None
    if file is not None and (who := _others_who_read(file)):
        yield Finding(_KEY, Status.WARN, f"{file} can be read by {who}", f"chmod 600 {file}")
    else:
        where = f"generated, in {GENERATED}: keep a copy" if reference is None else f"from the {reference.source}"
        yield Finding(_KEY, Status.PASS, where)


def _others_who_read(file: Path) -> str:
    mode = file.stat().st_mode
    if mode & stat.S_IROTH:
        return "everybody on this machine"
    return "its group" if mode & stat.S_IRGRP else ""
