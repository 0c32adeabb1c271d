"""Jinja2 as this project uses it, and its errors with template, line and variable."""

from __future__ import annotations

import datetime as dt
import difflib
import re
import textwrap
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import SandboxedEnvironment

from newsletter.errors import Place, TemplateError
from newsletter.rendering.included import IncludedFiles
from newsletter.rendering.source_map import LineMarks
from newsletter.rendering.template_folder import TemplateFolder, read_text, shown
from newsletter.rendering.words import FALLBACK, Words, words_of

_REFERENCE = "docs/reference/templates.md lists what a template may use"


def fill(text: str, width: int = 72, indent: str = "", first: str | None = None) -> str:
    """`text` as lines of at most `width` columns, each begun with `indent` (the first with `first`, if given).

    Long words are left whole: a broken URL is no URL.
    """
    return textwrap.fill(
        " ".join(text.split()),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


class _Loader(jinja2.FileSystemLoader):
    """Files in UTF-8, with or without a byte order mark; one that is not is named."""

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        try:
            return super().get_source(environment, template)
        except UnicodeDecodeError:
            for folder in self.searchpath:
                if (Path(folder) / template).is_file():
                    read_text(Path(folder) / template)
            raise


def _printable(value: Any) -> Any:
    """What `{{ }}` may print: None, a list or an object in the middle of a mail is a mistake."""
    if isinstance(value, str | int | float | dt.date | jinja2.Undefined):
        return value
    what = "None" if value is None else f"a {type(value).__name__}"
    raise TypeError(f"prints {what}, which is no text")


class TemplateEnvironment:
    """The templates of one folder, ready to render.

    Undefined variables are errors, HTML is escaped (`*.txt.j2` is not), and a template can reach nothing but its
    context: templates are files that operators edit and mail around. The same context always gives the same text.
    `words` write the dates; English ones unless others are given.
    """

    def __init__(self, folder: TemplateFolder, words: Words | None = None) -> None:
        self._words = words or words_of(FALLBACK, folder.roots)
        # a template may also include what templates share: {% include "shared/footer.mjml.j2" %}
        self._roots = [*(root / folder.name for root in folder.roots), *folder.roots]
        self._plain = self._environment()
        self._included = IncludedFiles(self._plain)
        self._marks = LineMarks(self._show)
        self._marked = self._environment()
        self._marks.install(self._marked)

    def render(self, file: str, context: Mapping[str, Any]) -> str:
        """The template `file` with `context`. Raises TemplateError with its line and what is undefined."""
        return self._render(self._plain, file, context)

    def place_of(self, file: str, context: Mapping[str, Any], offset: int) -> Place:
        """Where in the templates the character at `offset` of the rendered `file` comes from; its line if known."""
        try:
            marked = self._render(self._marked, file, context)
        except TemplateError:
            # the marks themselves upset it: it cuts or converts what it has rendered
            marked = ""
        place = self._marks.place_of(self._render(self._plain, file, context), marked, offset)
        return place or Place(self._show(file))

    def included(self, *files: str) -> dict[str, str]:
        """The text of each of `files` and of all that they include, import or extend, by name."""
        return self._included.of(files)

    def _environment(self) -> jinja2.Environment:
        environment = SandboxedEnvironment(
            loader=_Loader(self._roots, encoding="utf-8-sig"),
            autoescape=jinja2.select_autoescape(enabled_extensions=("mjml.j2", "html.j2"), default=False),
            undefined=jinja2.StrictUndefined,
            finalize=_printable,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            optimized=False,  # to look for constants takes longer than they would save, in a template used once a run
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
        )
        environment.filters |= {"longdate": self._words.date, "fill": fill}
        # these two give another text each time
        del environment.filters["random"]
        del environment.globals["lipsum"]
        return environment

    def _render(self, environment: jinja2.Environment, file: str, context: Mapping[str, Any]) -> str:
        try:
            return environment.get_template(file).render(context)
        except jinja2.TemplateSyntaxError as error:
            place = Place(self._show(error.filename or error.name or file), error.lineno)
            raise TemplateError(error.message or "a syntax error", place=place) from None
        except jinja2.TemplateNotFound as error:
            raise self._not_found(error, file) from None
        except jinja2.UndefinedError as error:
            message, hint = _undefined(str(error), context)
            raise TemplateError(message, place=self._place_in(error, file), hint=hint) from None
        except SecurityError as error:
            raise TemplateError(str(error), place=self._place_in(error, file), hint=_REFERENCE) from None
        except RecursionError as error:
            message = "includes or calls itself without end"
            raise TemplateError(message, place=self._place_in(error, file)) from None
        except TemplateError as error:
            place = error.place or self._place_in(error, file)
            raise TemplateError(error.message, place=place, hint=error.hint) from None
        except Exception as error:
            # a filter or a test that was given the wrong kind of value: still the template's mistake
            message = str(error) if type(error) is TypeError else f"{type(error).__name__}: {error}"
            raise TemplateError(message, place=self._place_in(error, file), hint=_REFERENCE) from error

    def _not_found(self, error: jinja2.TemplateNotFound, file: str) -> TemplateError:
        if error.name == file:
            folders = ", ".join(str(shown(root)) for root in self._roots)
            return TemplateError(f"no {file} in any of {folders}", hint="every template needs one")
        place = self._place_in(error, file)
        if ".." in str(error.name).split("/"):
            hint = "a template includes files of its own folder and of the templates folder"
            return TemplateError(
                f"includes {error.name!r}, which leads out of the templates folder", place=place, hint=hint
            )
        return TemplateError(f"includes {error.name!r}, which does not exist", place=place)

    def _place_in(self, error: BaseException, file: str) -> Place:
        """The innermost template line of a traceback; Jinja rewrites tracebacks so that they name template lines."""
        roots = tuple(str(root) for root in self._roots)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(roots)]
        if not frames:
            return Place(self._show(file))
        return Place(self._show(frames[-1].filename), frames[-1].lineno)

    def _show(self, file: str) -> Path:
        path = Path(file)
        if not path.is_absolute():
            path = next((root / file for root in self._roots if (root / file).is_file()), path)
        return shown(path)


_NAME = re.compile(r"'(\w+)' is undefined")
_ATTRIBUTE = re.compile(r"'(?:[\w.]+\.)?(\w+) object' has no attribute '(\w+)'")
#: What our own classes are called in docs/reference/templates.md.
_OURS = {
    "Holes": "holes",
    "Issue": "issue",
    "ParagraphView": "a paragraph",
    "Publication": "publication",
    "SectionView": "a section",
    "StoryView": "a story",
    "SubscriberFields": "subscriber",
    "Words": "words",
}


def _undefined(message: str, context: Mapping[str, Any]) -> tuple[str, str]:
    """Jinja's words with the variable first and without our module names, and a hint."""
    name = _NAME.fullmatch(message)
    near = difflib.get_close_matches(name[1], sorted(context), 1) if name else []
    if near:
        return message, f"did you mean {near[0]}?"
    found = _ATTRIBUTE.fullmatch(message)
    if not found:
        return message, _REFERENCE
    owner, attribute = _OURS.get(found[1], found[1]), found[2]
    hint = f'declare it in template.toml: fields = ["{attribute}"]' if owner == "subscriber" else _REFERENCE
    return f"'{attribute}' is undefined: {owner} has nothing of that name", hint
