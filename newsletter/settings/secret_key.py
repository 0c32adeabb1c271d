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

#: Relative to the folder of config.toml.
GENERATED = Path("var", "secret.key")
#: 256 bits in hex.
_LENGTH = 64


def site_secret(loaded: Loaded, environ: Mapping[str, str]) -> str:
    """The key that new links are signed with.

    `site.secret_key` where it is given. Where it is absent, or names a variable that is not set, a key is made in
    `var/secret.key`, but only on SQLite: a database that several machines share needs one key for all of them.
    Raises ConfigError, or OutputError where the key cannot be written.
    """
    reference = loaded.settings.site.secret_key
    on_sqlite = loaded.settings.database.url.startswith("sqlite")
    if reference is not None and not (on_sqlite and reference.env and reference.env not in environ):
        return reference.resolve(environ, loaded.folder)
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
    keys += [reference.resolve(environ, loaded.folder) for reference in loaded.settings.site.secret_key_fallbacks]
    generated = loaded.resolve(GENERATED)
    if generated.is_file():
        keys.append(_read(generated))
    return tuple(dict.fromkeys(keys))


_SUGGESTION = 'Write secret_key = { env = "NEWSLETTER_SECRET_KEY" } under [site] and set that variable.'


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
