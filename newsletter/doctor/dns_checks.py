"""Whether receivers can tell that the mail is the sender's own: SPF, DKIM and DMARC of each From domain.

Gmail and Yahoo ask all three of whoever sends more than 5,000 mails a day
(https://support.google.com/mail/answer/81126, https://senders.yahooinc.com/best-practices/).
"""

from __future__ import annotations

from collections.abc import Iterator

from newsletter.doctor.dkim_records import (
    GOOD_BITS,
    LEAST_BITS,
    DkimFault,
    DkimKey,
    public_of,
    read_dkim,
    record_for,
)
from newsletter.doctor.dmarc import Dmarc, DmarcFault, aligned, read_dmarc
from newsletter.doctor.dns_questions import Unanswered
from newsletter.doctor.model import Finding, NotChecked, Result, Status, Surroundings, Texts
from newsletter.doctor.senders import Sender, senders
from newsletter.doctor.spf import MOST_LOOKUPS, Spf, SpfFault, read_spf
from newsletter.errors import ConfigError
from newsletter.settings.provider_model import Dkim, SendgridProvider, SmtpProvider

_SPF, _DKIM, _DMARC = "dns-spf", "dns-dkim", "dns-dmarc"
_ASK_AGAIN = "Look at this machine's name servers, or name another one with --nameserver; or leave it out: --offline."
#: Names that SendGrid's domain authentication gives its keys, unless one chose another.
_SENDGRID_SELECTORS = ("s1", "s2")


def check_spf(around: Surroundings) -> Iterator[Result]:
    """Each domain that stands in an envelope has one SPF record that works and that does not let in everybody."""
    wanted: dict[str, bool] = {}
    for sender in senders(around.loaded):
        # where the provider has an envelope of its own, a record at the From domain is good manners
        wanted[sender.domain] = wanted.get(sender.domain, False) or sender.envelope_domain == sender.domain
        if sender.envelope_domain:
            wanted[sender.envelope_domain] = True
    for domain, needed in wanted.items():
        yield _spf(domain, around.texts, needed=needed)


def _spf(domain: str, texts: Texts, *, needed: bool) -> Finding:
    try:
        if texts(domain) is None:
            return Finding(
                _SPF, Status.FAIL, "this domain does not exist", "Register it, or mend `from` in the settings.", domain
            )
        spf = read_spf(domain, texts)
    except Unanswered as unanswered:
        return Finding(_SPF, Status.FAIL, str(unanswered), _ASK_AGAIN, domain)
    except SpfFault as fault:
        do = "Mend the record: until then SPF fails for every mail. RFC 7208 says what may stand in it."
        return Finding(_SPF, Status.FAIL, str(fault), do, domain)
    if spf is None:
        do = f"Publish a TXT record at {domain} of who sends: v=spf1 ip4:ADDRESS -all, or what your provider says."
        return Finding(_SPF, Status.FAIL if needed else Status.WARN, "there is no SPF record", do, domain)
    return _spf_verdict(domain, spf)


def _spf_verdict(domain: str, spf: Spf) -> Finding:
    said = f"{spf.ending}, {spf.lookups} of {MOST_LOOKUPS} lookups"
    if spf.ending == "+all":
        do = "End the record with ~all or -all."
        return Finding(_SPF, Status.FAIL, "the record lets everybody send as this domain (+all)", do, domain)
    if spf.ending == "?all":
        do = "End the record with ~all or -all."
        return Finding(_SPF, Status.WARN, f"the record says nothing of other senders ({said})", do, domain)
    return Finding(_SPF, Status.PASS, said, about=domain)


def check_dkim(around: Surroundings) -> Iterator[Result]:
    """The key that receivers verify with is published, and is the one that signs."""
    seen = set()
    for sender in senders(around.loaded):
        provider = sender.provider
        if isinstance(provider, SmtpProvider) and provider.dkim is not None:
            if (key := (provider.dkim.selector, provider.dkim.domain)) not in seen:
                seen.add(key)
                yield _own_key(around, provider.dkim)
        elif isinstance(provider, SendgridProvider):
            yield _sendgrid_keys(sender, around.texts)
        else:
            why = f"`{sender.provider_name}` writes to disk"
            if provider.kind != "disk":
                why = f"whoever signs behind `{sender.provider_name}` does so under a name that is not known here"
                why += "; `newsletter test` sends a mail whose headers show dkim=pass"
            yield NotChecked(_DKIM, why, sender.domain)


def _own_key(around: Surroundings, dkim: Dkim) -> Finding:
    name = f"{dkim.selector}._domainkey.{dkim.domain}"
    try:
        private = dkim.private_key.resolve(around.environ, around.loaded.folder)
        kind, public = public_of(private)
    except (ConfigError, ValueError) as error:
        return Finding(_DKIM, Status.FAIL, f"the private key: {error}", "Mend `dkim.key` of the provider.", name)
    publish = f"Publish this TXT record at {name}: {record_for(kind, public)}"
    try:
        found = around.texts(name)
        if not found:
            return Finding(_DKIM, Status.FAIL, "the key is not published", publish, name)
        published = read_dkim(found)
    except Unanswered as unanswered:
        return Finding(_DKIM, Status.FAIL, str(unanswered), _ASK_AGAIN, name)
    except DkimFault as fault:
        return Finding(_DKIM, Status.FAIL, str(fault), publish, name)
    if (published.kind, published.public) != (kind, public):
        return Finding(_DKIM, Status.FAIL, "the published key is not the one that signs", publish, name)
    return _key_verdict(name, published)


def _key_verdict(name: str, key: DkimKey) -> Finding:
    said = f"{key.kind}, {key.bits} bits"
    stronger = f"Make a key of {GOOD_BITS} bits under another selector, publish it, then change the settings."
    if key.kind == "rsa" and key.bits < LEAST_BITS:
        return Finding(_DKIM, Status.FAIL, f"receivers refuse so short a key ({said})", stronger, name)
    if key.kind == "rsa" and key.bits < GOOD_BITS:
        return Finding(_DKIM, Status.WARN, f"the key is short ({said})", stronger, name)
    if key.testing:
        return Finding(
            _DKIM, Status.WARN, "the record says that it is a test (t=y)", "Take t=y out of the record.", name
        )
    return Finding(_DKIM, Status.PASS, said, about=name)


def _sendgrid_keys(sender: Sender, texts: Texts) -> Finding:
    """SendGrid's keys stand, as CNAMEs, at the domain that was authenticated: the From domain or one above."""
    labels = sender.domain.split(".")
    try:
        for at in [".".join(labels[start:]) for start in range(max(1, len(labels) - 1))]:
            for selector in _SENDGRID_SELECTORS:
                name = f"{selector}._domainkey.{at}"
                if found := texts(name):
                    return _key_verdict(name, read_dkim(found))
    except Unanswered as unanswered:
        return Finding(_DKIM, Status.FAIL, str(unanswered), _ASK_AGAIN, sender.domain)
    except DkimFault as fault:
        return Finding(_DKIM, Status.FAIL, str(fault), "Verify the domain again in SendGrid.", sender.domain)
    return Finding(
        _DKIM,
        Status.WARN,
        f"there is no key under SendGrid's usual names, {' and '.join(_SENDGRID_SELECTORS)}",
        "Authenticate the domain in SendGrid (Sender Authentication); with a selector of your own, look at it there.",
        sender.domain,
    )


def check_dmarc(around: Surroundings) -> Iterator[Result]:
    """Each From domain has a policy, and what signs or sends for it counts as its own."""
    known: dict[str, Dmarc | Finding] = {}
    for sender in senders(around.loaded):
        domain = sender.domain
        if domain not in known:
            known[domain] = _policy(domain, around.texts)
            found = known[domain]
            yield found if isinstance(found, Finding) else _policy_verdict(domain, found)
        record = known[domain]
        if isinstance(record, Dmarc) and isinstance(sender.provider, SmtpProvider):
            yield from _alignment(sender, sender.provider, record)


def _policy(domain: str, texts: Texts) -> Dmarc | Finding:
    publish = f"Publish a TXT record at _dmarc.{domain}, to begin with: v=DMARC1; p=none; rua=mailto:ADDRESS"
    try:
        record = read_dmarc(domain, texts)
    except Unanswered as unanswered:
        return Finding(_DMARC, Status.FAIL, str(unanswered), _ASK_AGAIN, domain)
    except DmarcFault as fault:
        return Finding(_DMARC, Status.FAIL, str(fault), publish, domain)
    return record or Finding(_DMARC, Status.FAIL, "there is no DMARC record", publish, domain)


def _policy_verdict(domain: str, record: Dmarc) -> Finding:
    where = "" if record.at == domain else f", from {record.at}"
    reports = "" if record.reports else "; nobody gets reports (no rua)"
    return Finding(_DMARC, Status.PASS, f"p={record.policy}{where}{reports}", about=domain)


def _alignment(sender: Sender, provider: SmtpProvider, record: Dmarc) -> Iterator[Finding]:
    """DMARC passes where DKIM or SPF does, for a domain that counts as the From domain's own."""
    signing = provider.dkim.domain if provider.dkim else ""
    if signing and not aligned(signing, sender.domain, record, strict=record.strict_dkim):
        message = f"`{sender.provider_name}` signs for {signing}, which does not count as {sender.domain}"
        do = f"Sign for {sender.domain}, or for its organisation's domain where adkim is not s."
        yield Finding(_DMARC, Status.WARN, message, do, sender.domain)
    envelope = sender.envelope_domain
    if not signing and not aligned(envelope, sender.domain, record, strict=record.strict_spf):
        message = (
            f"the envelope of `{sender.provider_name}` is from {envelope}, which does not count as {sender.domain}"
        )
        do = "Let the mail be signed with DKIM for the From domain, or take the From domain into `envelope_from`."
        yield Finding(_DMARC, Status.WARN, message, do, sender.domain)
