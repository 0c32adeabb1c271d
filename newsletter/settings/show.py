"""What the settings come to, for people: every value with its origin, the JSON Schema, and problems as a picture."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from newsletter.settings import catalog
from newsletter.settings.catalog import Key
from newsletter.settings.load import dotted
from newsletter.settings.loaded import Loaded
from newsletter.settings.masking import MASK, mask_database_url, mask_url
from newsletter.settings.model import Newsletter, Settings
from newsletter.settings.picture import format_problems
from newsletter.settings.provider_model import model_of
from newsletter.settings.schema import json_schema
from newsletter.settings.secrets import Secret
from newsletter.settings.toml_lines import KeyPath

__all__ = ["ShownValue", "format_problems", "json_schema", "shown_values", "written"]

DEFAULT = "default"
_GENERATED = "generated into var/secret.key"
#: How the texts begin that say where a secret is.
_NOT_A_TEXT = ("{ env = ", "{ file = ", _GENERATED)


@dataclass(frozen=True, slots=True)
class ShownValue:
    """One effective value as the user would write it, masked where it is secret.

    `origin` is `default`, `config.toml:31` or `environment NEWSLETTER__…`.
    """

    key: str
    value: object
    origin: str


def shown_values(loaded: Loaded, environ: Mapping[str, str] = os.environ) -> tuple[ShownValue, ...]:
    """Every key with its effective value. The environment is asked only whether a secret's variable is set."""
    return tuple(
        ShownValue(dotted(path), _shown(loaded, path, key, environ), _origin(loaded, path))
        for path, key in _effective_keys(loaded.settings)
    )


def written(value: object) -> str:
    """A shown value as it would stand in the file; what says where a secret is stands without quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        pairs = [f"{dotted((str(name),))} = {written(one)}" for name, one in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(written(one) for one in value)}]"
    if value is None:
        return '""'
    if isinstance(value, str) and not value.startswith(_NOT_A_TEXT):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _effective_keys(settings: Settings) -> Iterator[tuple[KeyPath, Key]]:
    """The keys of the model, once for each newsletter and provider there is."""
    for table, keys in itertools.groupby(catalog.all_keys(), key=lambda key: key.path[0]):
        here: Iterable[Key] = keys
        if table == "newsletters":
            named = [catalog.keys_of(Newsletter, (table, name)) for name in settings.newsletters]
            here = itertools.chain.from_iterable(named)
        elif table == "providers":
            kinds = {name: model_of(provider.kind) for name, provider in settings.providers.items()}
            here = itertools.chain.from_iterable(catalog.keys_of(kind, (table, name)) for name, kind in kinds.items())
        yield from ((key.path, key) for key in here)


def _origin(loaded: Loaded, path: KeyPath) -> str:
    if catalog.at_path(loaded.written, path) is None:
        return DEFAULT
    # a variable may have set the whole table around it
    around = (dotted(path[:length]) for length in range(len(path), 0, -1))
    return next((loaded.origins[one] for one in around if one in loaded.origins), DEFAULT)


def _shown(loaded: Loaded, path: KeyPath, key: Key, environ: Mapping[str, str]) -> object:
    effective = _effective(loaded.settings, path)
    written = catalog.at_path(loaded.written, path)
    if path == ("site", "secret_key") and effective is None:
        return _GENERATED
    if isinstance(effective, Mapping) and key.masked:  # what stands there only the package knows
        named = effective.items()
        return {n: _reference(v, loaded, environ) if isinstance(v, Secret) else MASK for n, v in named}
    if key.masked:
        return _masked(path, effective)
    if isinstance(effective, Secret):
        return _reference(effective, loaded, environ)
    if written is None and not (key.derived or key.required or effective is None):
        return _as_json(key.default)
    return _without_secrets(_as_json(effective if written is None else written), effective, loaded, environ)


def _masked(path: KeyPath, effective: object) -> object:
    if path == ("database", "url"):
        return mask_database_url(str(effective))
    if isinstance(effective, tuple):
        return [mask_url(one) for one in effective]
    return mask_url(str(effective)) if effective else ""


def _reference(secret: Secret, loaded: Loaded, environ: Mapping[str, str]) -> str:
    named = f'env = "{secret.env}"' if secret.env else f'file = "{secret.file}"'
    return f"{{ {named} }} ({'set' if secret.is_set(environ, loaded.folder) else 'not set'})"


def _without_secrets(value: object, effective: object, loaded: Loaded, environ: Mapping[str, str]) -> object:
    """References in a list (fallbacks) or a table (dkim) are shown as all others."""
    if isinstance(effective, Secret):
        return _reference(effective, loaded, environ)
    if isinstance(effective, tuple) and isinstance(value, list):
        return [_without_secrets(one, below, loaded, environ) for one, below in zip(value, effective, strict=True)]
    if isinstance(value, dict) and isinstance(effective, BaseModel):
        return {
            name: _without_secrets(one, _effective(effective, (name,)), loaded, environ) for name, one in value.items()
        }
    return value


def _effective(settings: BaseModel, path: KeyPath) -> Any:
    value: Any = settings
    for part in path:
        if isinstance(value, Mapping):
            value = value[part]
        else:
            names = {one.alias or name: name for name, one in type(value).model_fields.items()}
            value = getattr(value, names[str(part)])
    return value


def _as_json(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _as_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(one) for one in value]
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return value
