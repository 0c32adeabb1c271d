"""Signed mail as a server gets it, by the settings: the signature must survive all that is done to a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hostile_names import HOSTILE_NAMES
from servers.dkim_verifying import PrivateKey, pem, valid
from servers.letters import LETTERHEAD, issue, recipient
from servers.smtp_server import Script, SmtpServer

from newsletter.delivery.model import Batch
from newsletter.delivery.provider import MailProvider
from newsletter.errors import ConfigError
from newsletter.settings.load import load_settings
from newsletter.wiring.mail_providers import mail_provider

KEYS: Mapping[str, PrivateKey] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def by_the_settings(folder: Path, port: int, key: str) -> MailProvider:
    """The provider of a project whose key stands in a file."""
    (folder / "dkim.pem").write_text(key)
    (folder / "config.toml").write_text(
        '[newsletters.a]\ntitle = "A"\nfrom = "buzz@news.example.com"\n[providers.relay]\nkind = "smtp"\n'
        f'host = "127.0.0.1"\nport = {port}\n'
        'dkim = { selector = "s1", domain = "news.example.com", key = { file = "dkim.pem" } }\n'
    )
    return mail_provider(load_settings(folder / "config.toml", {}), "relay")


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("pipelining", [True, False])
def test_every_message_verifies_and_both_one_click_fields_are_covered(
    tmp_path: Path, kind: str, pipelining: bool
) -> None:
    key = KEYS[kind]
    members = [recipient(number, name=name) for number, name in enumerate(HOSTILE_NAMES.values(), start=1)]
    with SmtpServer(Script(pipelining=pipelining)) as server:
        provider = by_the_settings(tmp_path, server.port, pem(key))
        receipt = provider.submit(Batch("a/2026-01-07", 1, LETTERHEAD, tuple(members)), {(): issue()})
        provider.close()
    assert receipt.accepted == len(members) == len(server.taken)
    for taken in server.taken:
        assert valid(taken.message, key)
        listed = re.sub(rb"\s", b"", taken.message.partition(b"h=")[2].partition(b";")[0]).split(b":")
        assert {b"from", b"list-unsubscribe", b"list-unsubscribe-post"} <= set(listed)
        one_click = b"List-Unsubscribe=One-Click"
        assert taken.message.count(one_click) == 1
        assert not valid(taken.message.replace(one_click, b"List-Unsubscribe=Two-Click"), key)


def test_a_key_that_cannot_sign_is_told_by_its_table_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"providers\.relay: the DKIM key is not") as caught:
        by_the_settings(tmp_path, 25, "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n")
    assert "canary" not in str(caught.value)
