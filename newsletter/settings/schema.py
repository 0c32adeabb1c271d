"""The JSON Schema of config.toml, for editors and other checkers."""

from __future__ import annotations

from typing import Any

from newsletter.settings.model import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of the parsed file; durations, rates and times are texts with a pattern, as written."""
    schema = _as_written(Settings.model_json_schema(by_alias=True, mode="validation"))
    return {"$schema": DIALECT, **schema, "title": "config.toml of newsletter"}


def _as_written(node: Any) -> Any:
    if isinstance(node, list):
        return [_as_written(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "title" in node and not isinstance(node["title"], dict):
        node = {name: value for name, value in node.items() if name != "title" or node.get("type") == "object"}
    node = {name: _as_written(value) for name, value in node.items()}
    if "anyOf" in node:
        return _without_null(node)
    if "patternProperties" in node:
        return {**node, "additionalProperties": False}
    if node.get("title") == "Secret":
        return _reference(node)
    if node.get("minItems") and node.get("default") == []:
        del node["default"]  # it follows from other keys
    return node


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: what may be absent is not required, and an empty table says none."""
    choices = [one for one in node["anyOf"] if one != {"type": "null"}]
    if node.get("default") == {}:
        choices.append({"type": "object", "maxProperties": 0})
    rest = {
        name: value for name, value in node.items() if name != "anyOf" and not (name == "default" and value is None)
    }
    return {**(choices[0] if len(choices) == 1 else {"anyOf": choices}), **rest}


def _reference(node: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: {inner: value for inner, value in one.items() if inner != "default"}
        for name, one in node["properties"].items()
    }
    return {**node, "properties": properties, "oneOf": [{"required": ["env"]}, {"required": ["file"]}]}
