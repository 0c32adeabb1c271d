"""`--links` against real servers on this machine, and the guard that keeps it from private networks."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from newsletter.issue.model import Image, Issue, Link, Paragraph, Section, Story
from newsletter.preflight.guarded_client import (
    MOST_BYTES,
    AddressRefused,
    GuardedNetwork,
    HostUnknown,
    guarded_client,
    resolve,
)
from newsletter.preflight.link_requests import Target, check_links, request, targets
from newsletter.preflight.model import Finding, Level
from newsletter.rendering.model import Hole, HoleContext, Holed, RenderedIssue


class Site(BaseHTTPRequestHandler):
    """A site with a page for each thing that can go wrong. `asked` keeps (method, host, path) of every request."""

    asked: list[tuple[str, str, str]]
    together: list[int]
    open: int

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        cls = type(self)
        cls.asked.append((self.command, self.headers["Host"], self.path))
        cls.open += 1
        cls.together.append(cls.open)
        try:
            self._say()
        finally:
            cls.open -= 1

    def _say(self) -> None:
        name, _, rest = self.path.lstrip("/").partition("/")
        match name:
            case "status":
                self._head(int(rest))
            case "no-head":
                self._head(405 if self.command == "HEAD" else 200)
            case "no-head-drop" if self.command == "HEAD":
                self.close_connection = True
            case "to":
                self._head(302, Location=rest)
            case "loop":
                self._head(302, Location=f"/loop/{int(rest or 0) + 1}")
            case "long-head":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * (MOST_BYTES + 10) + b"\r\n\r\n")
            case "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                self._drip()
            case "endless":
                self._head(200)
                self._drip()
            case "garbage":
                self.wfile.write(b"220 mail.example ESMTP\r\n")
            case "slow":
                time.sleep(0.02)
                self._head(200)
            case _:
                self._head(200)

    def _drip(self) -> None:
        try:
            while True:
                self.wfile.write(b"X-Drip: 1\r\n")
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests are about."""


@pytest.fixture
def site() -> Iterator[type[Site]]:
    handler = type("ThisSite", (Site,), {"asked": [], "together": [], "open": 0})
    server = QuietServer(("127.0.0.1", 0), handler)
    handler.port = server.server_port  # type: ignore[attr-defined] # a class made for this test
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def url(site: type[Site], path: str, host: str = "news.example") -> str:
    return f"http://{host}:{site.port}/{path}"  # type: ignore[attr-defined] # see the fixture


def names(**addresses: str | Sequence[str]) -> Any:
    """A resolver that knows these names (`_` for `.`); literal addresses are themselves; all others are unknown."""
    known = {
        name.replace("_", "."): [value] if isinstance(value, str) else list(value) for name, value in addresses.items()
    }

    def resolver(host: str, port: int) -> Sequence[str]:
        if host.replace(".", "").isdigit():
            return [host]
        if host not in known:
            raise HostUnknown(f"{host} has no address")
        return known[host]

    return resolver


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client that may reach this machine, where `*.example` names lead."""
    here = names(news_example="127.0.0.1", other_example="127.0.0.1", private_example="10.0.0.1")
    with guarded_client(GuardedNetwork(here, allow_loopback=True, seconds=3), seconds=3) as made:
        yield made


@pytest.fixture
def strict_client() -> Iterator[httpx.Client]:
    """The client as it is used, except for the resolver."""
    with guarded_client(GuardedNetwork(names(news_example="127.0.0.1"))) as made:
        yield made


def check(client: httpx.Client, address: str) -> Finding | None:
    return request(client, Target(address, 7))


@pytest.mark.parametrize("path", ["", "status/204", "no-head", "no-head-drop", "to//status/200", "endless"])
def test_a_link_that_leads_somewhere_is_not_mentioned(client: httpx.Client, site: type[Site], path: str) -> None:
    assert check(client, url(site, path)) is None


def test_head_is_asked_first_and_get_only_where_head_is_refused(client: httpx.Client, site: type[Site]) -> None:
    check(client, url(site, "page"))
    check(client, url(site, "no-head"))
    host = f"news.example:{site.port}"  # type: ignore[attr-defined] # see the fixture
    assert site.asked == [("HEAD", host, "/page"), ("HEAD", host, "/no-head"), ("GET", host, "/no-head")]


@pytest.mark.parametrize(
    ("path", "check_id", "level", "said"),
    [
        ("status/404", "link-broken", Level.ERROR, "answers 404"),
        ("status/410", "link-broken", Level.ERROR, "answers 410"),
        ("to//status/404", "link-broken", Level.ERROR, "answers 404"),
        ("to/http://nowhere.example/", "link-broken", Level.ERROR, "nowhere.example has no address"),
        ("status/403", "link-unconfirmed", Level.INFO, "answers 403"),
        ("status/999", "link-unconfirmed", Level.INFO, "answers 999"),
        ("status/500", "link-failing", Level.WARN, "answers 500"),
        ("loop", "link-failing", Level.WARN, "again and again"),
        ("to/ftp://news.example/", "link-failing", Level.WARN, "no web page"),
        ("long-head", "link-failing", Level.WARN, f"more than {MOST_BYTES} bytes"),
        ("garbage", "link-failing", Level.WARN, "news.example"),
        ("to/http://private.example/", "link-refused", Level.ERROR, "private address 10.0.0.1"),
        ("to/http://169.254.169.254/latest/meta-data/", "link-refused", Level.ERROR, "link-local address"),
    ],
)
def test_what_is_wrong_with_a_link_is_told_by_rule_and_level(
    client: httpx.Client, site: type[Site], path: str, check_id: str, level: Level, said: str
) -> None:
    finding = check(client, url(site, path))
    assert finding is not None
    assert (finding.id, finding.level, finding.line) == (check_id, level, 7)
    assert said in finding.message


def test_an_answer_that_never_ends_is_cut_off(site: type[Site]) -> None:
    """Each byte comes in time, so that a timeout of reads alone would wait for ever."""
    network = GuardedNetwork(names(news_example="127.0.0.1"), allow_loopback=True, seconds=0.5)
    with guarded_client(network, seconds=0.5) as client:
        finding = check(client, url(site, "drip"))
    assert finding is not None
    assert (finding.id, "in time" in finding.message) == ("link-failing", True)


def test_a_refused_connection_is_failing_and_not_broken(client: httpx.Client) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        finding = check(client, f"http://news.example:{free.getsockname()[1]}/")
    assert finding is not None
    assert finding.id == "link-failing"


def test_without_the_allowance_this_machine_is_not_reached(strict_client: httpx.Client, site: type[Site]) -> None:
    for address in (url(site, ""), url(site, "", "127.0.0.1"), url(site, "", "0.0.0.0")):
        finding = check(strict_client, address)
        assert finding is not None
        assert finding.id == "link-refused", finding
    assert site.asked == []


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
def test_every_way_to_write_this_machine_is_refused_with_the_systems_resolver(site: type[Site], host: str) -> None:
    with guarded_client() as client:
        finding = check(client, url(site, "", host))
    assert finding is not None
    assert finding.id == "link-refused", finding
    assert site.asked == []


def test_a_redirect_to_this_machine_is_refused_where_a_first_visit_was_allowed(site: type[Site]) -> None:
    """The first name is let through as a public server would be; the redirect meets the guard as it is."""

    class PublicFirst(GuardedNetwork):
        def _checked(self, host: str, port: int) -> Sequence[str]:
            return ["127.0.0.1"] if host == "public.example" else super()._checked(host, port)

    with guarded_client(PublicFirst(names(private_example="127.0.0.1"))) as client:
        finding = check(client, url(site, "to/" + url(site, "secret", "private.example"), "public.example"))
    assert finding is not None
    assert finding.id == "link-refused"
    assert [path for _, _, path in site.asked if "secret" in path and not path.startswith("/to/")] == []


class Recorder(httpcore.NetworkBackend):
    """Notes where it was told to connect, and gets no further: a public server cannot be had in a test."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    def connect_tcp(self, host: str, *args: Any, **more: Any) -> httpcore.NetworkStream:
        self.hosts.append(host)
        raise httpcore.ConnectError("no further")


def test_the_connection_is_made_to_the_very_address_that_was_checked() -> None:
    """A name that answers differently the second time has no second time."""
    answers = iter([["93.184.215.14", "2606:2800:21f::1"], ["127.0.0.1"]])
    network = Recorder()
    guard = GuardedNetwork(lambda host, port: next(answers), network=network)
    with pytest.raises(httpcore.ConnectError):
        guard.connect_tcp("rebinding.example", 80)
    assert network.hosts == ["93.184.215.14", "2606:2800:21f::1"]
    with pytest.raises(AddressRefused):
        guard.connect_tcp("rebinding.example", 80)
    assert len(network.hosts) == 2


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    network = Recorder()
    guard = GuardedNetwork(lambda host, port: ["93.184.215.14", "192.168.0.1"], network=network)
    with pytest.raises(AddressRefused, match="private address"):
        guard.connect_tcp("mixed.example", 80)
    assert network.hosts == []


def test_a_name_that_cannot_be_one_is_unknown() -> None:
    with pytest.raises(HostUnknown):
        resolve("a" * 64 + ".example", 80)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for news.example that signed itself, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "news.example")])
    today = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("news.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


def test_tls_asks_for_the_name_and_verifies_it(certificate: Path) -> None:
    """The connection goes to a number; SNI, the certificate's check and Host are still the name's."""
    asked_for: list[str | None] = []
    handler = type("TlsSite", (Site,), {"asked": [], "together": [], "open": 0})
    server = QuietServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        network = GuardedNetwork(names(news_example="127.0.0.1", other_example="127.0.0.1"), allow_loopback=True)
        trusting = ssl.create_default_context(cafile=str(certificate))
        with guarded_client(network, context=trusting) as client:
            assert check(client, f"https://news.example:{server.server_port}/page") is None
            wrong = check(client, f"https://other.example:{server.server_port}/page")
        with guarded_client(network) as client:
            unknown = check(client, f"https://news.example:{server.server_port}/page")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert set(asked_for) == {"news.example", "other.example"}
    assert handler.asked == [("HEAD", f"news.example:{server.server_port}", "/page")]  # type: ignore[attr-defined] # made above
    for finding in (wrong, unknown):
        assert finding is not None
        assert (finding.id, "certificate" in finding.message.lower()) == ("link-failing", True)


def issue_with(*links: Link, images: tuple[Image, ...] = ()) -> Issue:
    story = Story("The Bridge", (Paragraph("Text.", "Text.", 4, links=links, images=images),), line=3)
    return Issue("Buzz", dt.date(2026, 1, 7), sections=(Section("Top", (story,), line=2),))


def rendered_with(html: str) -> RenderedIssue:
    before, hole, after = html.partition("HOLE")
    holed = Holed((before, after), (Hole("unsubscribe_url", HoleContext.HTML_URL),)) if hole else Holed((html,), ())
    return RenderedIssue("Buzz", "", holed, Holed(("",), ()), "")


def test_every_address_is_requested_once_with_the_line_where_it_first_stands() -> None:
    issue = issue_with(
        Link("https://a.example/x#part", "one", 4),
        Link("https://a.example/x", "two", 5),
        Link("mailto:a@b.example", "mail", 6),
        Link("https://bad host/", "bad", 7),
        images=(Image("https://cdn.example/b.png", "B", None, 8),),
    )
    html = (
        '<a href="https://a.example/x">x</a><a href="#top">t</a><a href="HOLE">u</a>'
        '<a href="https://news.example.com/archive/1">own</a><a href="https://t.example/">template</a>'
        '<a href="https://news.example.com.other.example/x">other</a>'
    )
    assert targets(issue, rendered_with(html), own_site="https://news.example.com") == (
        Target("https://a.example/x", 4),
        Target("https://cdn.example/b.png", 8),
        Target("https://t.example/", 0),
        Target("https://news.example.com.other.example/x", 0),
    )


def test_links_are_checked_several_hosts_at_a_time_and_never_two_of_one(client: httpx.Client, site: type[Site]) -> None:
    paths = [f"slow/{number}" for number in range(5)]
    links = [Link(url(site, path), path, number) for number, path in enumerate(paths, start=4)]
    heard: list[tuple[int, int]] = []
    issue = issue_with(*links, Link(url(site, "status/404"), "gone", 20), Link("http://nowhere.example/", "none", 3))
    found = check_links(issue, rendered_with(""), client=client, pause=0, progress=lambda *count: heard.append(count))
    assert [(one.id, one.line) for one in found] == [("link-broken", 3), ("link-broken", 20)]
    assert [path for method, _, path in site.asked if method == "HEAD"] == [
        f"/{path}" for path in [*paths, "status/404"]
    ]
    assert max(site.together) == 1
    assert sorted(heard) == [(number, 7) for number in range(1, 8)]


def test_checking_links_by_itself_makes_a_client_that_refuses_this_machine(site: type[Site]) -> None:
    found = check_links(issue_with(Link(url(site, "", "127.0.0.1"), "here", 4)), rendered_with(""))
    assert [one.id for one in found] == ["link-refused"]
    assert site.asked == []
