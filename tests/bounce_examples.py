"""Messages that come back, as servers and mailbox providers write them."""

from __future__ import annotations

from pathlib import Path

#: Of flufl.bounce; see the README there.
BOUNCES = Path(__file__).parent / "data" / "bounces"

#: A mail of ours as it is returned; its links are nobody's.
ORIGINAL = """\
From: Daily Buzz <buzz@news.example.com>
To: Ben <ben@example.com>
Subject: Daily Buzz: 7 January 2026
Message-ID: <00000000000000000000000000000000@news.example.com>
List-Unsubscribe: <https://news.example.com/unsubscribe/daily-buzz/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx>
"""


def dsn(
    to: str,
    *,
    recipient: str = "ben@example.com",
    action: str = "failed",
    status: str = "5.1.1",
    words: str = "smtp; 550 5.1.1 <ben@example.com>: Recipient address rejected: User unknown",
    original: str = ORIGINAL,
    header: str = "",
) -> bytes:
    """A delivery status notification (RFC 3464), as Postfix writes them."""
    return f"""\
Return-Path: <>
{header}From: MAILER-DAEMON@mx.example.com (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Date: Wed, 7 Jan 2026 07:00:00 +0000
Message-Id: <4abc@mx.example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="BOUNDARY"

--BOUNDARY
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.com.

--BOUNDARY
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
Arrival-Date: Wed,  7 Jan 2026 06:30:02 +0000 (UTC)

Final-Recipient: rfc822; {recipient}
Original-Recipient: rfc822;{recipient}
Action: {action}
Status: {status}
Diagnostic-Code: {words}

--BOUNDARY
Content-Type: message/rfc822

{original}
Good morning.

--BOUNDARY--
""".encode()


def complaint(
    to: str, *, kind: str = "abuse", sender: str = "", recipient: str = "ben@example.com", original: str = ORIGINAL
) -> bytes:
    """A complaint in the Abuse Reporting Format (RFC 5965)."""
    mail_from = f"Original-Mail-From: <{sender}>\n" if sender else ""
    rcpt_to = f"Original-Rcpt-To: <{recipient}>\n" if recipient else ""
    return f"""\
From: <abusedesk@mailbox.example>
To: <{to}>
Subject: FW: Daily Buzz
Date: Wed, 7 Jan 2026 08:00:00 +0000
Message-ID: <20260107.80@mailbox.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part1"

--part1
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report for an email message received from IP 192.0.2.1.

--part1
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
{mail_from}{rcpt_to}Arrival-Date: Wed, 7 Jan 2026 06:31:00 +0000
Source-IP: 192.0.2.1

--part1
Content-Type: message/rfc822
Content-Disposition: inline

{original}
Good morning.

--part1--
""".encode()


def letter(to: str, *, header: str = "", subject: str = "unsubscribe", body: str = "") -> bytes:
    """What somebody writes, or their machine."""
    return f"""\
From: Ben <ben@example.com>
To: {to}
Subject: {subject}
Date: Wed, 7 Jan 2026 09:00:00 +0000
Message-ID: <1@example.com>
{header}
{body}
""".encode()


def qmail_bounce(
    to: str, original: str = ORIGINAL, words: str = "Sorry, no mailbox here by that name. (#5.1.1)"
) -> bytes:
    """The format of qmail (QSBMF): no parts, and the returned mail within the text."""
    return f"""\
Return-Path: <>
From: MAILER-DAEMON@mx.example.com
To: {to}
Subject: failure notice

Hi. This is the qmail-send program at mx.example.com.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ben@example.com>:
{words}

--- Below this line is a copy of the message.

Return-Path: <buzz@news.example.com>
{original}
Good morning.
""".encode()
