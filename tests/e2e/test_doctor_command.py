"""`newsletter doctor` as operators and scripts call it."""

from __future__ import annotations

from pathlib import Path

from live_projects import LiveProject, smtp_server
from projects import Project
from servers.dns_server import DnsServer

CANARY = "canary-signing-key-0123456789-0123456789"


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_a_new_project_is_looked_at_and_left_as_it_is(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    before = files(project.folder)
    ended = project.run("doctor", "--offline", "--json")
    assert ended.code == 0, ended
    found = {one["id"]: one["status"] for one in ended.json["checks"]}
    assert found["config"] == found["database"] == found["templates"] == found["disk-space"] == "pass"
    assert found["secret-key"] == found["base-url"] == found["provider"] == "warn"
    assert {one["id"] for one in ended.json["not_checked"]} == {"clock", "dns-spf", "dns-dkim", "dns-dmarc"}
    assert ended.json["ok"] is True
    assert (ended.json["warned"], ended.json["failed"]) == (3, 0)
    assert files(project.folder) == before


def test_what_fails_ends_it_with_3_and_says_what_to_do(tmp_path: Path) -> None:
    records = {"_dmarc.news.example.com": ["v=DMARC1; p=none; rua=mailto:a@example.com"]}
    with smtp_server() as server, DnsServer(records) as dns:
        ended = LiveProject(tmp_path / "project", server.port).call("doctor", "--nameserver", dns.address)
    assert ended.code == 3
    lines = ended.out.splitlines()
    number = next(n for n, line in enumerate(lines) if line.startswith("✗ dns-spf"))
    assert "there is no SPF record" in lines[number]
    assert "→ Publish a TXT record at news.example.com" in lines[number + 1]
    assert any(line.startswith("✓ dns-dmarc") for line in lines)
    assert lines[-1].endswith("1 failed")


def test_all_is_well_where_it_is(tmp_path: Path) -> None:
    records = {
        "news.example.com": ["v=spf1 ip4:192.0.2.1 -all"],
        "_dmarc.news.example.com": ["v=DMARC1; p=quarantine; rua=mailto:a@example.com"],
    }
    with smtp_server() as server, DnsServer(records) as dns:
        project = LiveProject(tmp_path / "project", server.port)
        ended = project.call("doctor", "--json", "--nameserver", dns.address, NEWSLETTER_SECRET_KEY=CANARY)
        assert ended.code == 0, ended
        found = {one["id"]: one for one in ended.json["checks"]}
        assert "no TLS, no login" in found["provider"]["message"]
        assert {one["status"] for name, one in found.items() if name != "base-url"} == {"pass"}
        assert CANARY not in ended.out + ended.err
        assert server.taken == []


def test_a_broken_configuration_is_the_first_finding(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.edit(project.config, "batch_size", "batch_sise")
    ended = project.call("doctor", "--json")
    assert ended.code == 3
    [config] = ended.json["checks"]
    assert (config["id"], config["status"]) == ("config", "fail")
    assert "config.toml:" in config["message"]
    assert "batch_size" in config["do"]
    assert project.call("-c", "nowhere.toml", "doctor").code == 3


def test_a_name_server_is_an_address(tmp_path: Path) -> None:
    ended = Project(tmp_path / "project").call("doctor", "--nameserver", "dns.example")
    assert ended.code == 2
    assert "is no name server" in ended.err
