"""Issue → RenderedIssue, once: Jinja2, MJML, inlined CSS, a text part, holes, and MIME segments to fill."""
