"""Front matter in YAML, without what makes YAML dangerous or surprising."""

from __future__ import annotations

import yaml

from newsletter.errors import Place
from newsletter.issue.front_matter import broken


class _NoAliasLoader(yaml.SafeLoader):
    """The safe loader without aliases, which can blow a few lines up to gigabytes, and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.composer.ComposerError(None, None, "aliases are not accepted", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f'"{key.value}" is given twice', key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str, source: str, fence_line: int) -> dict[object, object]:
    """The table that `text` is; its first line stands below line `fence_line` of the file. Raises IssueError."""
    try:
        # S506 wants yaml.safe_load; the loader below is the safe one, made stricter.
        values = yaml.load(text, Loader=_NoAliasLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, fence_line + mark.line + 1, mark.column + 1) if mark else Place(source, fence_line)
        raise broken("YAML", error.problem or error.context or "unreadable", place) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise broken("YAML", "a character that YAML does not accept", Place(source, fence_line + line)) from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        # PyYAML lets its own ValueError (a day that does not exist), TypeError and the like escape.
        raise broken("YAML", "a value that cannot be read", Place(source, fence_line)) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise broken("YAML", 'expected lines such as "subject: …"', Place(source, fence_line + 1))
    return values
