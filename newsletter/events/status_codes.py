"""What an enhanced status code (RFC 3463, with the registry of RFC 5248) says of a mailbox. Pure.

Only what says that there is no such mailbox is a hard bounce. Servers give policy refusals the first digit 5 as well;
those say something of the mail or its sender, and the person stays on the list.
"""

from __future__ import annotations

import re

from newsletter.events.model import EventKind

_CODE = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})", re.ASCII)
#: There is no such mailbox or domain, it is no address, it has moved, takes no mail at all (a null MX, RFC 7505), is
#: switched off (5.2.1), or its domain has no mail server (5.4.4).
_NO_MAILBOX = frozenset({(1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 1), (4, 4)})
#: About the sender's own address, or the size of the mail; and all about content and policy.
_OF_THE_MAIL = frozenset({(1, 7), (1, 8), (1, 9), (2, 3), (2, 4), (3, 4)})
_OF_THE_MAIL_SUBJECTS = frozenset({6, 7})
_TRANSIENT = 4


def kind_of_status(code: str) -> EventKind | None:
    """What a bounce with this code is; None where the code does not say (5.0.0, 5.1.0, none at all)."""
    found = _CODE.fullmatch(code.strip())
    if found is None or found[1] == "2":
        return None
    group, subject, detail = int(found[1]), int(found[2]), int(found[3])
    if subject in _OF_THE_MAIL_SUBJECTS or (subject, detail) in _OF_THE_MAIL:
        return EventKind.BLOCKED
    if group == _TRANSIENT:
        return EventKind.SOFT_BOUNCE
    if (subject, detail) in _NO_MAILBOX:
        return EventKind.HARD_BOUNCE
    # a full or disabled mailbox, a server that is away, a route that is not there: it may be another time
    return EventKind.SOFT_BOUNCE if subject and detail else None
