"""MJML to HTML through mjml-python, with its ways of failing turned into errors."""

from __future__ import annotations

import mjml as mjml_python


class MjmlFailure(Exception):
    """The MJML library gave up; `lint` should have said so before with a place."""


def mjml_to_html(mjml: str) -> str:
    """The HTML document for what `lint` returned, beginning with `<!DOCTYPE html>`. Raises MjmlFailure."""
    try:
        # fonts={}: otherwise a Google Fonts link appears for every font it knows
        html = mjml_python.mjml2html(mjml, fonts={})
    except BaseException as error:
        # A panic in the Rust library arrives as pyo3_runtime.PanicException, which is no Exception.
        if type(error).__name__ == "PanicException":
            raise MjmlFailure(f"the MJML library panicked: {error}") from None
        if isinstance(error, ValueError):
            raise MjmlFailure(f"the MJML library refused the template: {error}") from None
        raise
    return _standards_mode(html)


def _standards_mode(html: str) -> str:
    """With mrml's lower-case doctype premailer would drop it, and browsers fall into quirks mode."""
    doctype = "<!doctype html>"
    if html[: len(doctype)].lower() != doctype:
        raise MjmlFailure("the MJML library returned no HTML document")
    return "<!DOCTYPE html>" + html[len(doctype) :]
