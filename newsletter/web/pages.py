"""The public pages: templates in `templates/pages/`, which operators may restyle, filled with words and values."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from fastapi.responses import HTMLResponse
from jinja2 import nodes
from markupsafe import Markup

from newsletter.errors import Place, TemplateError, shown
from newsletter.rendering.words import Words

FOLDER = "pages"


class Pages:
    """Renders pages. A template sees `words`, `site_name`, `postal_address`, `path` (a function: the path of a page
    behind the prefix of base_url) and the values of its page; values are escaped, and never are templates themselves.
    """

    def __init__(self, roots: Sequence[Path], shared: Mapping[str, Any]) -> None:
        self._folders = [root / FOLDER for root in roots]
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folders, encoding="utf-8-sig"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= shared
        self._environment.filters["nowrap"] = _nowrap

    def share(self, **values: Any) -> None:
        """Gives every page these values, too."""
        self._environment.globals |= values

    def page(
        self, name: str, words: Words, /, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> HTMLResponse:
        """The page `name` (`unsubscribe.html.j2`) as an answer. Raises TemplateError, with its line."""
        return HTMLResponse(self.html(name, words, **values), status_code=status, headers=dict(headers or {}))

    def html(self, name: str, words: Words, /, **values: Any) -> str:
        """The same as text."""
        try:
            return self._environment.get_template(name).render(words=words, **values)
        except jinja2.TemplateSyntaxError as error:
            place = Place(shown(Path(error.filename or error.name or name)), error.lineno)
            raise TemplateError(error.message or "a syntax error", place=place) from None
        except jinja2.TemplateNotFound as error:
            raise TemplateError(f"no {error.name} in {self._where()}", hint="the package's own are complete") from None
        except (jinja2.UndefinedError, KeyError, TypeError) as error:
            what = f"there are no words {error}" if isinstance(error, KeyError) else str(error)
            hint = "docs/reference/web.md lists what a page may use"
            raise TemplateError(what, place=self._place_in(error, name), hint=hint) from None

    def compile_all(self, languages: Sequence[Words] = ()) -> None:
        """Raises TemplateError for the first page that cannot be compiled, builds on a file that is not there, or asks
        for a text that one of the languages lacks: better at the start than for a reader."""
        for name in self._environment.list_templates(["j2"]):
            try:
                self._environment.get_template(name)
            except jinja2.TemplateSyntaxError as error:
                place = Place(shown(Path(error.filename or name)), error.lineno)
                raise TemplateError(error.message or "a syntax error", place=place) from None
            assert self._environment.loader is not None
            source, path, _ = self._environment.loader.get_source(self._environment, name)
            for what, line in _missing(self._environment, source, languages):
                hint = "docs/reference/web.md lists what a page may use"
                raise TemplateError(what, place=Place(shown(Path(path or name)), line), hint=hint)

    def file(self, name: str) -> bytes | None:
        """The content of `page.css` or a picture; `name` is a bare name. None where there is none."""
        for folder in self._folders:
            path = folder / name
            if path.is_file():
                return path.read_bytes()
        return None

    def _where(self) -> str:
        return ", ".join(str(shown(folder)) for folder in self._folders)

    def _place_in(self, error: BaseException, name: str) -> Place:
        """The innermost template line of a traceback; Jinja rewrites tracebacks so that they name template lines."""
        roots = tuple(str(folder) for folder in self._folders)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(roots)]
        return Place(shown(Path(frames[-1].filename)), frames[-1].lineno) if frames else Place(name)


def _nowrap(value: str) -> Markup:
    """The value in one piece, where a line has room for it: `a…@example.com` would else be broken behind the dots."""
    return Markup('<span class="nowrap">{}</span>').format(value)


def _missing(environment: jinja2.Environment, source: str, languages: Sequence[Words]) -> Iterator[tuple[str, int]]:
    """What a page names that is not there, and its line; names that are put together when it is made are not seen."""
    page = environment.parse(source)
    there = set(environment.list_templates())
    for part in page.find_all((nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)):
        named: nodes.Node = getattr(part, "template")  # noqa: B009 - find_all tells no more than a statement
        if isinstance(named, nodes.Const) and named.value not in there and not getattr(part, "ignore_missing", False):
            yield f"there is no {named.value}", part.lineno
    for call in page.find_all(nodes.Call):
        key = call.args[0] if call.args else None
        if isinstance(call.node, nodes.Name) and call.node.name == "words" and isinstance(key, nodes.Const):
            for words in languages:
                if key.value not in words.texts:
                    yield f"there are no words {key.value!r} in the language {words.language}", call.lineno
