"""Which files a template consists of: what decides its output is what its hash must cover."""

from __future__ import annotations

import re
from collections.abc import Iterable

import jinja2
from jinja2 import meta

#: Without one of these words a template brings in nothing, and need not be parsed to know.
_BRINGS_IN = re.compile("include|import|extends")


class IncludedFiles:
    """Follows `include`, `import` and `extends` through the templates of one environment."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self._environment = environment
        #: Text of a template → the names it mentions; parsing takes longer than rendering.
        self._mentions: dict[str, frozenset[str | None]] = {}

    def of(self, files: Iterable[str]) -> dict[str, str]:
        """The text of `files` and of all that they bring in, by name.

        Where a template works out the name of what it includes, every template that could be meant belongs to it.
        Files that do not exist or cannot be parsed are left out: rendering says so, with their line.
        """
        found: dict[str, str] = {}
        waiting = list(files)
        while waiting:
            name = waiting.pop()
            if name in found or self._environment.loader is None:
                continue
            try:
                found[name] = self._environment.loader.get_source(self._environment, name)[0]
                mentioned = self._mentioned(found[name])
            except (jinja2.TemplateNotFound, jinja2.TemplateSyntaxError):
                continue
            waiting += [one for one in mentioned if one is not None]
            if None in mentioned:
                waiting += self._environment.list_templates(extensions=["j2"])
        return found

    def _mentioned(self, source: str) -> frozenset[str | None]:
        if not _BRINGS_IN.search(source):
            return frozenset()
        if source not in self._mentions:
            references = meta.find_referenced_templates(self._environment.parse(source))
            self._mentions[source] = frozenset(references)
        return self._mentions[source]
