"""The key that signs the links in mails: the one that is referred to, or one made once beside config.toml."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from newsletter.errors import ConfigError, OutputError, Place, Problem
from newsletter.settings.loaded import Loaded
from newsletter.settings.secrets import Secret

#: Relative to the folder of config.toml.
GENERATED = Path("var", "secret.key")
#: 256 bits in hex.
_LENGTH = 64
#: Characters that a key needs at least: 128 bits, even as hex. With less, whoever guesses it signs links of their own.
LEAST_LENGTH = 32
HOW_TO_MAKE = 'python3 -c "import secrets; print(secrets.token_hex(32))"'


def site_secret(loaded: Loaded, environ: Mapping[str, str]) -> str:
    """The key that new links are signed with.

    `site.secret_key` where it is given. Where it is absent, or names a variable that is not set, a key is made in
    `var/secret.key`, but only on SQLite: a database that several machines share needs one key for all of them.
    Raises ConfigError, or OutputError where the key cannot be written.
    """
    reference = loaded.settings.site.secret_key
    on_sqlite = loaded.settings.database.url.startswith("sqlite")
    if reference is not None and not (on_sqlite and reference.env and reference.env not in environ):
        return _configured(reference, loaded, environ, f"make a long one: {HOW_TO_MAKE}")
    if not on_sqlite:
        message = (
            "site.secret_key is missing: it is generated on SQLite only, machines that share a database share a key"
        )
        raise ConfigError([Problem("site.secret_key", message, Place(loaded.path), suggestion=_SUGGESTION)])
    return _generated(loaded.resolve(GENERATED))


def site_secrets(loaded: Loaded, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Every key that a link may be signed with, the present one first.

    Then `secret_key_fallbacks`, then a key that was generated before `secret_key` was set.
    """
    keys = [site_secret(loaded, environ)]
    fallbacks = loaded.settings.site.secret_key_fallbacks
    keys += [_configured(one, loaded, environ, _SHORT_FALLBACK) for one in fallbacks]
    generated = loaded.resolve(GENERATED)
    if generated.is_file():
        keys.append(_read(generated))
    return tuple(dict.fromkeys(keys))


_SUGGESTION = 'Write secret_key = { env = "NEWSLETTER_SECRET_KEY" } under [site] and set that variable.'


_SHORT_FALLBACK = f"take it out, though links signed with it stop working; long ones are made with {HOW_TO_MAKE}"


def _configured(reference: Secret, loaded: Loaded, environ: Mapping[str, str], suggestion: str) -> str:
    """The key that is referred to. Raises ConfigError, which says nothing of the key itself, where it is too short."""
    key = reference.resolve(environ, loaded.folder)
    if len(key.strip()) < LEAST_LENGTH:
        raise reference.error(f"the {reference.source} holds fewer than {LEAST_LENGTH} characters", suggestion)
    return key


def _generated(path: Path) -> str:
    """The key in the file; made first if there is none. Of two processes that make one, both get the first one's."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
    except OSError as error:
        raise OutputError(
            f"the key that signs links cannot be written: {error.strerror}", place=Place(path), hint=_SUGGESTION
        ) from None
    return _read(path)


def _make(path: Path) -> None:
    """Write a new key to a name of its own, then link it to `path`, which fails if another process was first.

    So nobody ever reads half a key. `mkstemp` opens with O_EXCL and mode 0600.
    """
    handle, name = tempfile.mkstemp(prefix=".secret.key.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_LENGTH // 2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> str:
    try:
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        key = ""
    if len(key) < _LENGTH:
        message = f"{path} holds no key of {_LENGTH} characters, or cannot be read"
        hint = "Restore it from a backup; links already mailed work with that key only."
        raise ConfigError([Problem("site.secret_key", message, Place(path), suggestion=hint)])
    return key
