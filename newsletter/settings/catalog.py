"""The keys of config.toml as data, read off the models: which stand where, what they take, what they mean."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from newsletter.settings.installed_providers import installed_kinds
from newsletter.settings.kinds import Derived, Written
from newsletter.settings.model import Newsletter, Settings
from newsletter.settings.provider_model import PROVIDER_KINDS, OutsideProvider, Provider, ProviderKind
from newsletter.settings.secrets import Secret
from newsletter.settings.toml_lines import KeyPath

#: A type as a model's field is annotated with it, metadata included.
Annotation = typing.Any


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `NAME` in `path` stands for the name of a newsletter, `KIND` for a kind of provider.

    `default` is what the user would write; it is None where `required`, or where `derived` says what holds instead.
    """

    path: tuple[str, ...]
    words: str
    example: str
    meaning: str
    default: object = None
    derived: str = ""
    required: bool = False
    masked: bool = False

    @property
    def secret(self) -> bool:
        """Whether a secret could be written there, by mistake or not."""
        return self.masked or "reference" in self.words

    @property
    def name(self) -> str:
        """The key without its table."""
        return self.path[-1]

    @property
    def table(self) -> tuple[str, ...]:
        """The table it stands in."""
        return self.path[:-1]


def all_keys() -> Iterator[Key]:
    """Every key that is no table of the model itself, in the order of the shipped file."""
    yield from keys_of(Settings, ())


def keys_of(model: type[BaseModel], table: tuple[str, ...]) -> Iterator[Key]:
    """The keys of one table and of those below it; single keys before tables."""
    hints = typing.get_type_hints(model, include_extras=True)
    below: list[Iterator[Key]] = []
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        annotation = hints[field_name]
        bare = _bare(annotation)
        if name == "newsletters":
            below.append(keys_of(Newsletter, (*table, name, "NAME")))
        elif name == "providers":
            below += [keys_of(kind, (*table, name, word.upper())) for word, kind in PROVIDER_KINDS.items()]
        elif (
            isinstance(bare, type) and issubclass(bare, BaseModel) and bare is not Secret and not _optional(annotation)
        ):
            below.append(keys_of(bare, (*table, name)))
        else:
            yield _key((*table, name), field, annotation)
    for keys in below:
        yield from keys


def _key(path: tuple[str, ...], field: FieldInfo, annotation: Annotation) -> Key:
    written = written_as(annotation)
    derived = next((one.words for one in _metadata(annotation) if isinstance(one, Derived)), "")
    required = field.default is PydanticUndefined
    return Key(
        path=path,
        words=written.words,
        example=written.example,
        meaning=field.description or "",
        default=None if required or derived else field.default,
        derived=derived,
        required=required,
        masked=not field.repr,
    )


def annotation_at(path: KeyPath, document: Mapping[str, object]) -> Annotation | None:
    """What the key at `path` takes; None if there is no such key. The document tells the kinds of providers apart."""
    annotation: Annotation = Settings
    value: object = document
    for part in path:
        annotation = _below(annotation, part, value)
        if annotation is None:
            return None
        value = step_into(value, part)
    return _provider_kind(value) if is_provider(annotation) else annotation


def names_at(path: KeyPath, document: Mapping[str, object]) -> tuple[str, ...]:
    """The keys that may stand in the table at `path`; empty where names are free, or where there is no table."""
    return names_of(annotation_at(path, document))


def names_of(annotation: Annotation | None) -> tuple[str, ...]:
    """The keys of a table."""
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        return tuple(field.alias or name for name, field in bare.model_fields.items())
    return ()


def is_table_of(annotation: Annotation | None) -> bool:
    """Whether the names in it are free: newsletters, providers, editions and the like."""
    return typing.get_origin(_bare(annotation)) is Mapping


def is_provider(annotation: Annotation | None) -> bool:
    """Whether it is one of several kinds of provider."""
    members = [_bare(one) for one in typing.get_args(_bare(annotation))]
    return bool(members) and all(isinstance(one, type) and issubclass(one, Provider) for one in members)


def is_secret(annotation: Annotation | None) -> bool:
    """Whether it takes a reference to a secret."""
    return _bare(annotation) is Secret


def takes_text(annotation: Annotation | None) -> bool:
    """Whether the user writes it as a text in quotes."""
    bare = _bare(annotation)
    return typing.get_origin(bare) not in (tuple, Mapping) and not is_provider(annotation) and not (
        isinstance(bare, type) and (issubclass(bare, (BaseModel, bool, int)))
    )  # fmt: skip


def is_flag(annotation: Annotation | None) -> bool:
    """Whether it is true or false."""
    return _bare(annotation) is bool


def written_as(annotation: Annotation | None) -> Written:
    """What a user writes there, in words and with an example."""
    own = next((one for one in _metadata(annotation) if isinstance(one, Written)), None)
    return own or _written_by_shape(_bare(annotation))


def _written_by_shape(bare: Annotation | None) -> Written:
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is typing.Literal:
        choices = [f'"{one}"' if isinstance(one, str) else str(one) for one in arguments]
        words = " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
        return Written(words, choices[0], plural=words)
    if origin is tuple:
        item = written_as(arguments[0])
        return Written(f"list of {item.many}", f"[{item.example}]")
    if origin is Mapping:
        item = written_as(arguments[1])
        return Written(f"table of {item.many}", f"{{ name = {item.example} }}")
    if bare is Secret:
        return Written("reference to a secret", '{ env = "NAME" }', "references to secrets")
    return Written("table", "{ … }")


def holds_values(annotation: Annotation | None) -> bool:
    """Whether a table of free names holds single values, not tables."""
    arguments = typing.get_args(_bare(annotation))
    return len(arguments) == 2 and not names_of(arguments[1]) and not is_provider(arguments[1])


def at_path(document: object, path: KeyPath) -> object:
    """The value at `path`, or None where there is nothing."""
    for part in path:
        document = step_into(document, part)
    return document


def step_into(value: object, part: str | int) -> object:
    """`value[part]`, or None where there is no such thing."""
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, Sequence) and not isinstance(value, str) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _below(annotation: Annotation, part: str | int, value: object) -> Annotation | None:
    if is_provider(annotation):
        if part == "kind":
            return ProviderKind
        annotation = _provider_kind(value)
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        hints = typing.get_type_hints(bare, include_extras=True)
        for name, field in bare.model_fields.items():
            if part == (field.alias or name):
                return hints[name]
        return None
    origin, arguments = typing.get_origin(bare), typing.get_args(bare)
    if origin is Mapping:
        return arguments[1]
    if origin is tuple and isinstance(part, int):
        return arguments[0]
    return None


def _provider_kind(table: object) -> Annotation:
    kind = table.get("kind") if isinstance(table, Mapping) else None
    if not isinstance(kind, str):
        return Provider
    return PROVIDER_KINDS.get(kind) or (OutsideProvider if kind in installed_kinds() else Provider)


def _metadata(annotation: Annotation | None) -> tuple[object, ...]:
    inner = _inner(annotation)
    own: tuple[object, ...] = getattr(annotation, "__metadata__", ())
    return own if inner is annotation else (*own, *getattr(inner, "__metadata__", ()))


def _inner(annotation: Annotation | None) -> Annotation | None:
    """`X` of `X | None`, metadata kept."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        members = [one for one in typing.get_args(annotation) if one is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation


def _bare(annotation: Annotation | None) -> Annotation | None:
    """The type without metadata and without `| None`."""
    inner = _inner(annotation)
    if typing.get_origin(inner) is typing.Annotated:
        inner = typing.get_args(inner)[0]
    return inner if inner is annotation else _bare(inner)


def _optional(annotation: Annotation | None) -> bool:
    return type(None) in typing.get_args(annotation)


def choices_of(annotation: Annotation | None) -> tuple[str, ...]:
    """The texts it can take, where there are only some."""
    bare = _bare(annotation)
    return tuple(str(one) for one in typing.get_args(bare)) if typing.get_origin(bare) is typing.Literal else ()
