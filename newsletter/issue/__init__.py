"""The issue room: finding and parsing the day's file.

`parse` turns bytes into an `Issue` (`model`), `find` knows where the files are, `format` writes one, `blank` makes one
to fill. A file goes through `decode`, `front_matter` and `plain_text` or `markdown`.
"""

from newsletter.issue.model import Issue
from newsletter.issue.parse import parse_issue

__all__ = ["Issue", "parse_issue"]
