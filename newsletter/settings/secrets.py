"""Secrets stand in the environment or in a file; config.toml only says where. They are read when they are used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from newsletter.errors import ConfigError, Place, Problem

HOW_TO_WRITE = 'write { env = "NAME" } or { file = "PATH" } in its place, and keep the secret there'

#: Names of options that hold a secret.
_SECRET_NAME = re.compile(r"(?:.*[_-])?(?:key|secret|pass(?:word|wd|phrase)?|token|credentials?)", re.IGNORECASE)


class Secret(BaseModel):
    """A reference to a secret: an environment variable, or a file (relative to the config's folder). Exactly one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, title="Secret", defer_build=True)

    env: str = Field(default="", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Name of an environment variable.")
    file: str = Field(default="", min_length=1, description="Path of a file, relative to the config's folder.")

    _key: str = PrivateAttr(default="")
    _place: Place = PrivateAttr(default=Place("config.toml"))

    @model_validator(mode="before")
    @classmethod
    def _is_a_reference(cls, value: object) -> object:
        if not isinstance(value, (dict, Secret)):
            raise ValueError(f"a secret does not stand in the settings themselves: {HOW_TO_WRITE}")  # noqa: TRY004 - pydantic reads ValueError
        if isinstance(value, dict) and {"env", "file"} <= value.keys():
            raise ValueError("a secret stands in one place: `env` or `file`, not both")
        if value == {}:
            raise ValueError(f"this names no place: {HOW_TO_WRITE}")
        return value

    @property
    def source(self) -> str:
        """`environment variable X`, or `file PATH`."""
        return f"environment variable {self.env}" if self.env else f"file {self.file}"

    def remember_place(self, key: str, place: Place) -> None:
        """Note which key this is and where it stands, for the message of a `resolve` that fails."""
        self._key = key
        self._place = place

    def is_set(self, environ: Mapping[str, str], base: Path) -> bool:
        """Whether there is anything to read; does not read it."""
        return bool(environ.get(self.env)) if self.env else (base / self.file).is_file()

    def resolve(self, environ: Mapping[str, str], base: Path) -> str:
        """The secret itself, without the line end of a file. Raises ConfigError with the key and the place to fill."""
        if self.env:
            if self.env not in environ:
                raise self.error(f"the environment variable {self.env} is not set", f"set {self.env}")
            secret = environ[self.env]
        else:
            secret = self._read(base / self.file)
        if not secret:
            raise self.error(f"the {self.source} is empty", f"put the secret into the {self.source}")
        return secret

    def _read(self, path: Path) -> str:
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = error.strerror or "cannot be read"
            failure = self.error(f"the file {path} cannot be read: {reason}", f"make {path}, readable by this user")
        else:
            try:
                return content.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                failure = self.error(f"the file {path} is not UTF-8 text", "write the secret as plain text")
        # raised out here, so that no exception that could carry the content hangs on it
        raise failure

    def error(self, message: str, suggestion: str) -> ConfigError:
        """What is wrong with the secret, at its key and place; `message` must not repeat the secret."""
        key = self._key or "secret"
        return ConfigError([Problem(key, f"{key}: {message}", self._place, suggestion=suggestion)])


def parse_options(value: object) -> Mapping[str, object]:
    """The options of a provider of another package: tables of `env` or `file` become references. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError("expected a table")  # noqa: TRY004 - pydantic reads ValueError
    return {str(name): _option(str(name), one) for name, one in value.items()}


def _option(name: str, value: object) -> object:
    if isinstance(value, Mapping) and value and value.keys() <= {"env", "file"}:
        try:
            return Secret.model_validate(value)
        except ValidationError:
            raise ValueError(f"`{name}` is no reference to a secret: {HOW_TO_WRITE}") from None
    if isinstance(value, str) and value and _SECRET_NAME.fullmatch(name):
        raise ValueError(f"`{name}`: a secret does not stand in the settings themselves: {HOW_TO_WRITE}")
    return value
