"""SPF, DKIM and DMARC of a From domain, asked of a real name server."""

from __future__ import annotations

import base64
import datetime as dt
import functools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from servers.dns_server import SERVFAIL, SILENCE, DnsServer

from newsletter.doctor.dkim_records import DkimFault, read_dkim
from newsletter.doctor.dmarc import DmarcFault, read_dmarc
from newsletter.doctor.dns_checks import check_dkim, check_dmarc, check_spf
from newsletter.doctor.dns_questions import NameServers, Unanswered
from newsletter.doctor.model import Check, Finding, NotChecked, Surroundings
from newsletter.doctor.senders import senders
from newsletter.doctor.spf import SpfFault, read_spf
from newsletter.errors import UsageError
from newsletter.settings.load import load_settings

SMTP = '[providers.relay]\nkind = "smtp"\n'
SENDGRID = '[providers.relay]\nkind = "sendgrid"\n'
DKIM = 'dkim = { selector = "s7", domain = "news.example", key = { file = "dkim.pem" } }\n'
GOOD: dict[str, Sequence[str]] = {
    "news.example": ["v=spf1 ip4:192.0.2.1 -all"],
    "_dmarc.news.example": ["v=DMARC1; p=reject; rua=mailto:a@b.example"],
}


@functools.cache
def rsa_key(bits: int) -> RSAPrivateKey:
    return generate_private_key(65537, bits)


def pem(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def published(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    """The record of a key, as its owner would publish it."""
    if isinstance(key, RSAPrivateKey):
        content = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(content).decode()}"
    content = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(content).decode()}"


def found(
    check: Check,
    folder: Path,
    records: Mapping[str, Sequence[str]],
    provider: str = SMTP,
    sender: str = "buzz@news.example",
    seconds: float = 5,
) -> list[tuple[str, str, str, str]]:
    """What a check finds: id, about, status (`-` where it was not checked), message."""
    config = folder / "config.toml"
    newsletter = f'[newsletters.a]\ntitle = "A"\nfrom = "{sender}"\ndelivery = {{ provider = "relay" }}\n'
    config.write_text(newsletter + provider)
    with DnsServer(records) as server:
        around = Surroundings(
            loaded=load_settings(config, {}),
            environ={},
            online=True,
            texts=NameServers(server.address, seconds=seconds).texts,
            template_roots=(),
            database=_not_asked,
            database_time=None,
            provider=_not_asked,
            refuse_unfit=_not_asked,
            now=lambda: dt.datetime(2026, 1, 7, tzinfo=dt.UTC),
        )
        results = list(check(around))
    rows = []
    for one in results:
        if isinstance(one, NotChecked):
            rows.append((one.check, one.about, "-", one.why))
        else:
            assert one.do or one.status == "pass", one
            rows.append((one.check, one.about, one.status.value, one.message))
    return rows


def _not_asked(*_: object) -> Any:
    raise AssertionError


SPF_RECORDS: dict[str, tuple[dict[str, Sequence[str]], str, str]] = {
    "a good one": (
        {"news.example": ["v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"]},
        "pass",
        "-all, 0 of 10 lookups",
    ),
    "among other texts": ({"news.example": ["hello", "V=SPF1 mx ~ALL", "v=spf10 x"]}, "pass", "~all, 1 of 10 lookups"),
    "in several strings": (
        {"news.example": ["v=spf1 " + " ".join(f"ip4:192.0.2.{n}" for n in range(40)) + " ~all"]},
        "pass",
        "~all, 0 of 10 lookups",
    ),
    "including others": (
        {
            "news.example": ["v=spf1 include:spf.host.example a ~all"],
            "spf.host.example": ["v=spf1 include:more.host.example exists:%{i}.x.example ?all"],
            "more.host.example": ["v=spf1 mx ip4:192.0.2.1 -all"],
        },
        "pass",
        "~all, 5 of 10 lookups",
    ),
    "redirected": (
        {"news.example": ["v=spf1 redirect=example.org"], "example.org": ["v=spf1 -all"]},
        "pass",
        "-all, 1 of 10 lookups",
    ),
    "redirected, but it ends before": (
        {"news.example": ["v=spf1 redirect=gone.example ~all"]},
        "pass",
        "~all, 0 of 10 lookups",
    ),
    "open to all": ({"news.example": ["v=spf1 +all"]}, "fail", "everybody"),
    "open to all, shorter": ({"news.example": ["v=spf1 all"]}, "fail", "everybody"),
    "says nothing of others": ({"news.example": ["v=spf1 mx"]}, "warn", "?all, 1 of 10"),
    "two of them": ({"news.example": ["v=spf1 -all", "v=spf1 ~all"]}, "fail", "2 SPF records"),
    "none": ({"news.example": ["hello"]}, "fail", "no SPF record"),
    "no such domain": ({"other.example": ["v=spf1 -all"]}, "fail", "does not exist"),
    "includes nothing": ({"news.example": ["v=spf1 include:none.example -all"]}, "fail", "include:none.example"),
    "includes itself": ({"news.example": ["v=spf1 include:news.example -all"]}, "fail", "more than 10"),
    "too many lookups": (
        {"news.example": ["v=spf1 " + " ".join(f"a:h{n}.example" for n in range(11)) + " -all"]},
        "fail",
        "more than 10",
    ),
    "ten lookups": (
        {"news.example": ["v=spf1 " + " ".join(f"a:h{n}.example" for n in range(10)) + " -all"]},
        "pass",
        "-all, 10 of 10 lookups",
    ),
    "a misspelt term": ({"news.example": ["v=spf1 ipv4:192.0.2.1 -all"]}, "fail", "ipv4:192.0.2.1"),
    "no address": ({"news.example": ["v=spf1 ip4:192.0.2.300 -all"]}, "fail", "ip4:192.0.2.300"),
    "the other kind": ({"news.example": ["v=spf1 ip6:192.0.2.1 -all"]}, "fail", "ip6:192.0.2.1"),
    "a server that fails": ({"news.example": SERVFAIL}, "fail", "SERVFAIL"),
}


@pytest.mark.parametrize("case", SPF_RECORDS)
def test_spf(tmp_path: Path, case: str) -> None:
    records, status, message = SPF_RECORDS[case]
    [row] = found(check_spf, tmp_path, records)
    assert row[:3] == ("dns-spf", "news.example", status)
    assert message in row[3]


def test_spf_is_asked_of_the_envelopes_domain(tmp_path: Path) -> None:
    provider = f'{SMTP}envelope_from = "bounces+{{token}}@mail.example"\n'
    rows = found(check_spf, tmp_path, {"mail.example": ["v=spf1 -all"], "news.example": ["x"]}, provider)
    assert [(about, status) for _, about, status, _ in rows] == [("news.example", "warn"), ("mail.example", "pass")]
    [row] = found(check_spf, tmp_path, {"news.example": ["x"]}, SENDGRID)
    assert row[2] == "warn"  # its envelope is of a domain of its own


def test_an_international_domain_is_asked_in_ascii(tmp_path: Path) -> None:
    [row] = found(check_spf, tmp_path, {"xn--bcher-kva.example": ["v=spf1 -all"]}, sender="a@bücher.example")
    assert row[1:3] == ("xn--bcher-kva.example", "pass")


def test_a_name_server_that_says_nothing_is_told(tmp_path: Path) -> None:
    for check, name in ((check_spf, "news.example"), (check_dmarc, "_dmarc.news.example")):
        [row] = found(check, tmp_path, {name: SILENCE}, seconds=0.3)
        assert row[2] == "fail"
        assert "no name server answered the question for" in row[3]


@pytest.mark.parametrize("key", [rsa_key(2048), Ed25519PrivateKey.generate()], ids=["rsa", "ed25519"])
def test_the_published_key_is_the_one_that_signs(tmp_path: Path, key: RSAPrivateKey | Ed25519PrivateKey) -> None:
    (tmp_path / "dkim.pem").write_text(pem(key))
    name = "s7._domainkey.news.example"
    [row] = found(check_dkim, tmp_path, {name: [published(key)]}, SMTP + DKIM)
    assert row[:3] == ("dns-dkim", name, "pass")
    spaced = published(key).replace("v=DKIM1; ", "v = DKIM1 ;t=s; ") + " ; n=a note"
    assert found(check_dkim, tmp_path, {name: [spaced]}, SMTP + DKIM)[0][2] == "pass"
    assert found(check_dkim, tmp_path, {name: [published(key).removeprefix("v=DKIM1; ")]}, SMTP + DKIM)[0][2] == "pass"
    other = Ed25519PrivateKey.generate()
    assert "is not the one that signs" in found(check_dkim, tmp_path, {name: [published(other)]}, SMTP + DKIM)[0][3]


DKIM_RECORDS: dict[str, tuple[Sequence[str], str, str]] = {
    "not there": ((), "fail", "not published"),
    "taken back": (("v=DKIM1; p=",), "fail", "taken back"),
    "no key": (("v=DKIM1; k=rsa; p=AAAA",), "fail", "holds no rsa key"),
    "no base64": (("v=DKIM1; k=rsa; p=*",), "fail", "holds no rsa key"),
    "of a kind to come": (("v=DKIM1; k=other; p=AAAA",), "fail", "holds no other key"),
    "no tags": (("v=DKIM1; p; p",), "fail", "cannot be read"),
    "another text": (("hello",), "fail", "holds no key"),
    "two": ((published(rsa_key(2048)), "v=DKIM1; p="), "fail", "2 key records"),
    "testing": ((published(rsa_key(2048)) + "; t=y:s",), "warn", "t=y"),
    "a server that fails": (SERVFAIL, "fail", "SERVFAIL"),
}


@pytest.mark.parametrize("case", DKIM_RECORDS)
def test_dkim_records(tmp_path: Path, case: str) -> None:
    texts, status, message = DKIM_RECORDS[case]
    (tmp_path / "dkim.pem").write_text(pem(rsa_key(2048)))
    [row] = found(check_dkim, tmp_path, {"s7._domainkey.news.example": texts}, SMTP + DKIM)
    assert row[2] == status, row
    assert message in row[3]


def test_a_short_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "dkim.pem").write_text(pem(rsa_key(1024)))
    records = {"s7._domainkey.news.example": [published(rsa_key(1024))]}
    [row] = found(check_dkim, tmp_path, records, SMTP + DKIM)
    assert row[2:] == ("warn", "the key is short (rsa, 1024 bits)")


def test_what_to_publish_is_given_whole(tmp_path: Path) -> None:
    (tmp_path / "dkim.pem").write_text(pem(rsa_key(2048)))
    config = tmp_path / "config.toml"
    found(check_dkim, tmp_path, {}, SMTP + DKIM)
    around = Surroundings(
        load_settings(config, {}), {}, True, lambda _name: None, (), _not_asked, None, _not_asked, _not_asked
    )  # fmt: skip
    [finding] = check_dkim(around)
    assert isinstance(finding, Finding)
    assert finding.do.endswith(published(rsa_key(2048)))


@pytest.mark.parametrize("content", [None, "", "geheim-7f3a"])
def test_a_private_key_that_is_none_is_told_without_it(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "dkim.pem").write_text(content)
    [row] = found(check_dkim, tmp_path, {}, SMTP + DKIM)
    assert row[2] == "fail"
    assert "geheim" not in str(row)


def test_sendgrids_keys_stand_behind_cnames(tmp_path: Path) -> None:
    records = {
        "s1._domainkey.news.example": ["CNAME s1.domainkey.u1.sendgrid.example"],
        "s1.domainkey.u1.sendgrid.example": [published(rsa_key(2048))],
    }
    [row] = found(check_dkim, tmp_path, records, SENDGRID)
    assert row[1:] == ("s1._domainkey.news.example", "pass", "rsa, 2048 bits")
    [row] = found(check_dkim, tmp_path, records, SENDGRID, sender="buzz@daily.news.example")
    assert row[1:3] == ("s1._domainkey.news.example", "pass")
    [row] = found(check_dkim, tmp_path, GOOD, SENDGRID)
    assert row[1:3] == ("news.example", "warn")


def test_of_a_relay_that_signs_nothing_is_known(tmp_path: Path) -> None:
    [row] = found(check_dkim, tmp_path, GOOD)
    assert row[:3] == ("dns-dkim", "news.example", "-")
    assert "newsletter test" in row[3]


DMARC_RECORDS: dict[str, tuple[dict[str, Sequence[str]], str, str]] = {
    "a good one": (GOOD, "pass", "p=reject"),
    "only watching": ({"_dmarc.news.example": ["v=DMARC1;p=none"]}, "pass", "p=none; nobody gets reports (no rua)"),
    "among others": ({"_dmarc.news.example": ["x", "v=DMARC1; p=Reject; rua=mailto:a@b.example"]}, "pass", "p=reject"),
    "none": ({"news.example": ["x"]}, "fail", "no DMARC record"),
    "two": ({"_dmarc.news.example": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}, "fail", "2 DMARC records"),
    "no policy": ({"_dmarc.news.example": ["v=DMARC1; rua=mailto:a@b.example"]}, "fail", "no policy"),
    "a policy that is none": ({"_dmarc.news.example": ["v=DMARC1; p=monitor"]}, "fail", "no policy"),
    "not tags": ({"_dmarc.news.example": ["v=DMARC1; p=none; p=none"]}, "fail", "cannot be read"),
    "another version": ({"_dmarc.news.example": ["v=DMARC10; p=none"]}, "fail", "no DMARC record"),
    "a server that fails": ({"_dmarc.news.example": SERVFAIL}, "fail", "SERVFAIL"),
}


@pytest.mark.parametrize("case", DMARC_RECORDS)
def test_dmarc(tmp_path: Path, case: str) -> None:
    records, status, message = DMARC_RECORDS[case]
    [row] = found(check_dmarc, tmp_path, records)
    assert row[:3] == ("dns-dmarc", "news.example", status)
    assert message in row[3]


def test_a_domain_below_has_the_policy_of_the_one_above(tmp_path: Path) -> None:
    records = {"_dmarc.news.example": ["v=DMARC1; p=reject; sp=quarantine; rua=mailto:a@b.example"]}
    [row] = found(check_dmarc, tmp_path, records, sender="a@daily.buzz.news.example")
    assert row[2:] == ("pass", "p=quarantine, from news.example")
    # a top-level domain is nobody's organisation
    assert found(check_dmarc, tmp_path, {"_dmarc.example": ["v=DMARC1; p=none"]})[0][2] == "fail"


@pytest.mark.parametrize(
    ("record", "signing", "passes"),
    [
        ("v=DMARC1; p=none; rua=x", "news.example", True),
        ("v=DMARC1; p=none; rua=x", "mail.news.example", True),
        ("v=DMARC1; p=none; rua=x; adkim=s", "mail.news.example", False),
        ("v=DMARC1; p=none; rua=x", "host.example", False),
        ("v=DMARC1; p=none; rua=x", "fakenews.example", False),
    ],
)
def test_the_signing_domain_must_count_as_the_senders(tmp_path: Path, record: str, signing: str, passes: bool) -> None:
    provider = SMTP + DKIM.replace("news.example", signing)
    rows = found(check_dmarc, tmp_path, {"_dmarc.news.example": [record]}, provider)
    assert [status for _, _, status, _ in rows] == (["pass"] if passes else ["pass", "warn"])


def test_without_a_signature_the_envelope_must(tmp_path: Path) -> None:
    provider = f'{SMTP}envelope_from = "bounces@host.example"\n'
    rows = found(check_dmarc, tmp_path, GOOD, provider)
    assert [status for _, _, status, _ in rows] == ["pass", "warn"]
    assert "host.example" in rows[1][3]


@pytest.mark.parametrize("server", ["ns.example", "", "127.0.0.1:x", "1.2.3", "[::1"])
def test_a_name_server_is_an_address(server: str) -> None:
    if not server:
        NameServers(server)
        return
    with pytest.raises(UsageError, match="is no name server"):
        NameServers(server)


def test_an_ipv6_name_server_is_understood() -> None:
    for server in ("::1", "[::1]", "[::1]:5353", "192.0.2.53"):
        NameServers(server)


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@given(st.lists(st.one_of(_TEXT, _TEXT.map("v=spf1 {}".format), _TEXT.map("v=DMARC1; {}".format)), max_size=3))
def test_whatever_stands_in_the_dns_is_read_or_refused(texts: list[str]) -> None:
    """Never anything else: the records of included domains are other people's."""
    for read, fault in (
        (lambda: read_spf("a.example", lambda _name: texts), SpfFault),
        (lambda: read_dmarc("a.example", lambda _name: texts), DmarcFault),
        (lambda: read_dkim(texts), DkimFault),
    ):
        with suppress(fault):
            read()


def test_nobody_to_ask_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    def without(*_: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", without)
    with pytest.raises(Unanswered, match="knows no name server"):
        NameServers().texts("a.example")


def test_the_domain_is_asked_for_as_the_mail_writes_it(tmp_path: Path) -> None:
    """Of ß the older rules, those of Python's codec, make ss: another domain, and perhaps somebody else's."""
    config = tmp_path / "config.toml"
    config.write_text(
        'config_version = 1\n[newsletters.daily]\ntitle = "Daily"\nfrom = "a@straße.example"\n'
        'list_id = "daily.example"\ndelivery = { provider = "relay" }\n' + SMTP
    )
    assert [one.domain for one in senders(load_settings(config, {}))] == ["xn--strae-oqa.example"]
