"""What the vendor refuses in the body of mail/send, and what it makes of one that it takes.

Written from the vendor's pages (mail/send: limitations, errors) and apart from the adapter, with which it
shares no code.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

MOST_BYTES = 30_000_000
_RESERVED = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)
_TOP = frozenset(
    {
        "personalizations",
        "from",
        "reply_to",
        "reply_to_list",
        "subject",
        "content",
        "attachments",
        "template_id",
        "headers",
        "categories",
        "custom_args",
        "send_at",
        "batch_id",
        "asm",
        "ip_pool_name",
        "mail_settings",
        "tracking_settings",
    }
)
_PERSONAL = frozenset(
    {
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "headers",
        "substitutions",
        "dynamic_template_data",
        "custom_args",
        "send_at",
    }
)
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+")
_HEADER = re.compile(r"[!-9;-~]+")
_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"

Fault = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as its recipient gets it. Header names are in lower case."""

    address: str
    name: str
    sender: str
    sender_name: str
    reply_to: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]
    custom_args: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The message as a document."""
        return asdict(self)


def fault(message: str, field: str | None = None) -> Fault:
    """One entry of the vendor's error body."""
    return {"message": message, "field": field, "help": f"{_HELP}#message.{field}" if field else None}


def faults(body: object) -> list[Fault]:
    """All that the vendor finds wrong with a body; nothing else is accepted."""
    if not isinstance(body, dict):
        return [fault("Bad Request")]
    found = [fault("Invalid field", key) for key in sorted(body.keys() - _TOP)]
    found += _people_faults(body.get("personalizations"), has_subject=bool(body.get("subject")))
    found += _mailbox_faults(body.get("from"), "from")
    if "reply_to" in body:
        found += _mailbox_faults(body["reply_to"], "reply_to")
    if "subject" in body and not (isinstance(body["subject"], str) and body["subject"]):
        found.append(fault("The subject must be a string of at least one character.", "subject"))
    found += _content_faults(body.get("content"))
    found += _headers_faults(body.get("headers", {}), "headers")
    found += _strings_faults(body.get("custom_args", {}), "custom_args", 10_000)
    categories = body.get("categories", [])
    if not isinstance(categories, list) or not all(isinstance(one, str) and len(one) <= 255 for one in categories):
        found.append(fault("Categories are an array of strings of up to 255 characters.", "categories"))
    elif len(categories) > 10 or len(set(categories)) < len(categories):
        found.append(fault("There may be 10 categories, and each once.", "categories"))
    send_at = body.get("send_at", 0)
    if not _is_integer(send_at) or send_at > time.time() + 72 * 3600:
        found.append(fault("Scheduling more than 72 hours in advance is forbidden.", "send_at"))
    found += _settings_faults(body)
    return found


def messages(body: Mapping[str, Any]) -> Iterator[Message]:
    """What goes out for a body without faults."""
    content = {part["type"]: part["value"] for part in body["content"]}
    for person in body["personalizations"]:
        replace = person.get("substitutions", {})
        for to in person["to"]:
            yield Message(
                address=to["email"],
                name=to.get("name", ""),
                sender=body["from"]["email"],
                sender_name=body["from"].get("name", ""),
                reply_to=_replaced(body.get("reply_to", {}).get("email", ""), replace),
                subject=_replaced(person.get("subject") or body["subject"], replace),
                text=_replaced(content.get("text/plain", ""), replace),
                html=_replaced(content.get("text/html", ""), replace),
                # the harshest reading of the documentation: headers of a personalization stand in place of all others
                headers={
                    name.lower(): value for name, value in (person.get("headers") or body.get("headers", {})).items()
                },
                custom_args=body.get("custom_args", {}) | person.get("custom_args", {}),
            )


def _replaced(text: str, substitutions: Mapping[str, str]) -> str:
    # One after the other: a value that held a key would be replaced in turn.
    for key, value in substitutions.items():
        text = text.replace(key, value)
    return text


def _people_faults(people: object, *, has_subject: bool) -> list[Fault]:
    where = "personalizations"
    if not isinstance(people, list) or not people:
        return [fault("The personalizations field is required and must have at least one personalization.", where)]
    if len(people) > 1000:
        return [
            fault(
                "The personalization block is limited to 1000 personalizations per API request. "
                f"You have provided {len(people)} personalizations. "
                "Please consider splitting this into multiple requests and resending your request.",
                where,
            )
        ]
    found: list[Fault] = []
    seen: set[str] = set()
    recipients = 0
    for number, person in enumerate(people):
        place = f"{where}.{number}"
        if not isinstance(person, dict):
            found.append(fault("A personalization must be an object.", place))
            continue
        found += [fault("Invalid field", f"{place}.{key}") for key in sorted(person.keys() - _PERSONAL)]
        if not isinstance(person.get("to"), list) or not person["to"]:
            found.append(
                fault(
                    "The to array is required for all personalization objects, and must have at least one email object "
                    "with a valid email address.",
                    f"{place}.to",
                )
            )
        if not has_subject and not person.get("subject"):
            found.append(fault("The subject is required.", "subject"))
        for list_name in ("to", "cc", "bcc"):
            for index, mailbox in enumerate(person.get(list_name) or []):
                recipients += 1
                field = f"{place}.{list_name}"
                found += _mailbox_faults(mailbox, f"{field}.{index}")
                address = str(mailbox.get("email")).lower() if isinstance(mailbox, dict) else ""
                if address in seen:
                    found.append(
                        fault(
                            "Each email address in the personalization block should be unique between to, cc, and bcc. "
                            f"We found the first duplicate instance of [{address}] in the {field} field.",
                            where,
                        )
                    )
                seen.add(address)
        found += _strings_faults(person.get("substitutions", {}), f"{place}.substitutions", 10_000)
        found += _strings_faults(person.get("custom_args", {}), f"{place}.custom_args", 10_000)
        found += _headers_faults(person.get("headers", {}), f"{place}.headers")
    if recipients > 1000:
        found.append(fault("There is a limit of 1000 total recipients (to + cc + bcc) per request.", where))
    return found


def _mailbox_faults(mailbox: object, field: str) -> list[Fault]:
    if not isinstance(mailbox, dict) or not isinstance(mailbox.get("email"), str):
        return [fault("The email object must be provided, with a valid email address.", f"{field}.email")]
    found = []
    if len(mailbox["email"]) > 320 or not _ADDRESS.fullmatch(mailbox["email"]):
        found.append(fault("Does not contain a valid address.", f"{field}.email"))
    name = mailbox.get("name", "")
    if not isinstance(name, str) or set(name) & set(";,\r\n"):
        found.append(fault("The name must be a string without semicolons and commas.", f"{field}.name"))
    found += [fault("Invalid field", f"{field}.{key}") for key in sorted(mailbox.keys() - {"email", "name"})]
    return found


def _content_faults(content: object) -> list[Fault]:
    if not isinstance(content, list) or not content:
        return [fault("Unless a valid template_id is provided, the content parameter is required.", "content")]
    found = []
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not all(
            isinstance(part.get(key), str) and part[key] for key in ("type", "value")
        ):
            found.append(fault("The content must be strings of at least one character.", f"content.{number}.value"))
    types = [part.get("type") for part in content if isinstance(part, dict)]
    if not found and types not in (["text/plain"], ["text/html"], ["text/plain", "text/html"]):
        found.append(fault("The text/plain content must come first, followed by text/html.", "content"))
    return found


def _strings_faults(values: object, field: str, most: int) -> list[Fault]:
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        return [fault(f"The {field.rpartition('.')[2]} must be an object of strings.", field)]
    size = sum(len(key.encode()) + len(value.encode("utf-8", "surrogatepass")) for key, value in values.items())
    return [fault(f"The total length may not exceed {most} bytes.", field)] if size > most else []


def _headers_faults(headers: object, field: str) -> list[Fault]:
    if not isinstance(headers, dict):
        return [fault("The headers must be an object.", field)]
    found = []
    for name, value in headers.items():
        if name.lower() in _RESERVED:
            found.append(fault(f"The header {name} is reserved and cannot be used.", f"{field}.{name}"))
        if not _HEADER.fullmatch(name) or not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]+", value):
            found.append(fault("Headers must be strings, encoded where they are not ASCII.", f"{field}.{name}"))
    return found


def _settings_faults(body: Mapping[str, Any]) -> list[Fault]:
    found = []
    for group in ("mail_settings", "tracking_settings"):
        settings = body.get(group, {})
        for name, setting in settings.items() if isinstance(settings, dict) else [("", None)]:
            if not isinstance(setting, dict) or not isinstance(setting.get("enable"), bool):
                found.append(fault("The setting must say whether it is enabled.", f"{group}.{name}.enable"))
    return found


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def parse(raw: bytes) -> object:
    """The document, or None where the bytes are no JSON."""
    try:
        return json.loads(raw)
    except ValueError:
        return None
