"""The commands as a user runs them: in a project of their own, in a process of their own."""

from __future__ import annotations

import csv
import email
import email.policy
import hashlib
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from projects import SLOT, Project

from newsletter.audience import addresses


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class TestDryRun:
    def test_it_writes_everything_and_says_what_to_open(self, project: Project) -> None:
        ended = project.run("send", SLOT, "--dry-run")
        assert ended.code == 0, ended.err
        assert ended.err == ""
        assert "Open   out/daily-buzz/2026-01-07/index.html" in ended.out
        assert "audience  12 of 15 (1 pending, 1 invalid, 1 duplicate)" in ended.out
        written = digests(project.out)
        assert {"index.html", "issue.html", "issue.txt", "recipients.csv", "excluded.csv", "summary.json"} < set(
            written
        )
        assert len(list((project.out / "messages").iterdir())) == 12

    def test_its_output_is_private_and_kept_out_of_git(self, project: Project) -> None:
        project.run("send", SLOT, "--dry-run")
        for path in (project.out, *project.out.rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        subprocess.run(["git", "init", "-q"], cwd=project.folder, check=True)
        seen = subprocess.run(
            ["git", "status", "--porcelain", "-uall"], cwd=project.folder, check=True, capture_output=True, text=True
        )
        assert "out/" not in seen.stdout
        assert "secret" not in seen.stdout

    def test_repeated_it_gives_the_same_bytes(self, project: Project) -> None:
        assert project.run("send", SLOT, "--dry-run", PYTHONHASHSEED="1").code == 0
        first = digests(project.out)
        assert "index.html" in first
        assert project.run("send", SLOT, "--dry-run", PYTHONHASHSEED="2", TZ="Asia/Tokyo").code == 0
        assert digests(project.out) == first
        (project.folder / "below").mkdir()
        command = [sys.executable, "-m", "newsletter", "-c", "../config.toml", "send", SLOT, "--dry-run"]
        subprocess.run(command, cwd=project.folder / "below", capture_output=True, check=True)
        assert digests(project.out) == first

    def test_its_messages_are_complete_and_personal(self, project: Project) -> None:
        project.run("send", SLOT, "--dry-run")
        with (project.out / "recipients.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len({row["message_id"] for row in rows}) == len({row["unsubscribe_url"] for row in rows}) == 12
        for row in rows:
            message = email.message_from_bytes((project.out / row["eml"]).read_bytes(), policy=email.policy.default)
            assert not message.defects
            assert message["To"].addresses[0].addr_spec == row["email"]
            assert message["Message-ID"] == row["message_id"]
            assert message["List-Unsubscribe"] == f"<{row['unsubscribe_url']}>"
            assert message["Date"].datetime.isoformat() == "2026-01-07T06:30:00+08:00"
            for part in ("plain", "html"):
                body = message.get_body((part,))
                assert body is not None
                assert row["unsubscribe_url"] in body.get_content()
                assert not re.search(r"z[0-9a-f]{8}[hutl][0-9]{3}z", body.get_content())

    def test_summary_json_is_what_json_prints_and_it_balances(self, project: Project) -> None:
        ended = project.run("send", SLOT, "--dry-run", "--json")
        assert ended.json == json.loads((project.out / "summary.json").read_text("utf-8"))
        assert ended.json["run"] == "daily-buzz/2026-01-07"
        assert ended.json["planned"] == ended.json["accepted"] == 12
        assert ended.json["excluded"] == {"pending": 1, "invalid": 1, "duplicate": 1}

    @pytest.mark.parametrize(("eml", "kept"), [("0", 0), ("3", 3), ("all", 12)])
    def test_eml_says_how_many_messages_are_kept(self, project: Project, eml: str, kept: int) -> None:
        assert project.run("send", SLOT, "--dry-run", "--eml", eml).code == 0
        assert len(list((project.out / "messages").iterdir())) == kept

    def test_an_address_that_no_header_can_carry_is_excluded(self, project: Project) -> None:
        project.edit(
            project.folder / "subscribers/daily-buzz.csv", "amelia.hart@example.com", "=?utf-8?q?x?=@example.com"
        )
        ended = project.call("send", SLOT, "--dry-run", "--json")
        assert ended.code == 0
        assert ended.json["accepted"] == ended.json["planned"]
        assert "=?utf-8?q?x?=@example.com,invalid," in (project.out / "excluded.csv").read_text()

    def test_a_recipient_no_message_can_be_made_for_is_told_and_the_command_exits_6(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(addresses, "_ENCODED_WORD", "\0")  # lists took such addresses once
        project.edit(
            project.folder / "subscribers/daily-buzz.csv", "amelia.hart@example.com", "=?utf-8?q?x?=@example.com"
        )
        ended = project.call("send", SLOT, "--dry-run", "--json")
        assert ended.code == 6, ended
        assert ended.json["rejected"] == 1
        assert ended.json["accepted"] == ended.json["planned"] - 1

    def test_every_variant_that_somebody_gets_is_checked(self, project: Project) -> None:
        template = project.folder / "templates/digest"
        (template / "template.toml").write_text('fields = ["language"]\n')
        link = '{{ words("mail.unsubscribe") }}: {{ holes.unsubscribe_url }}'
        project.edit(template / "issue.txt.j2", link, f"{{% if not subscriber.language %}}{link}{{% endif %}}")
        ended = project.run("send", SLOT, "--dry-run")
        assert ended.code == 3
        assert "unsubscribe-missing" in ended.err
        assert "for language 'en'" in ended.err

    def test_a_list_that_is_in_no_file_is_an_error_and_no_empty_audience(self, project: Project) -> None:
        project.edit(project.config, 'lists = ["daily-buzz"]', 'lists = ["daily-buz"]')
        ended = project.run("send", SLOT, "--dry-run")
        assert ended.code == 3
        assert "config.toml:" in ended.err
        assert "Did you mean `daily-buzz`?" in ended.err

    def test_cells_that_a_spreadsheet_would_run_are_guarded(self, project: Project) -> None:
        rows = "email,consent_at\n=cmd|x!A0,2025-01-01\n=1+1@example.com,2025-01-01\n"
        (project.folder / "subscribers/daily-buzz.csv").write_text(rows)
        project.run("send", SLOT, "--dry-run")
        assert "\n'=cmd|x!A0,invalid," in (project.out / "excluded.csv").read_text()
        assert "\n1,'=1+1@example.com," in (project.out / "recipients.csv").read_text()

    def test_an_edition_has_a_folder_of_its_own(self, project: Project) -> None:
        project.issue.rename(project.issue.with_name(f"{SLOT}.evening.txt"))
        ended = project.run("send", f"{SLOT}.evening", "--dry-run", "--json")
        assert ended.json["edition"] == "evening"
        assert (project.out.parent / f"{SLOT}.evening" / "index.html").is_file()

    def test_an_issue_that_fails_its_checks_is_written_to_be_looked_at_and_exits_3(self, project: Project) -> None:
        project.edit(project.issue, "7 January", "8 January")
        ended = project.run("send", SLOT, "--dry-run")
        assert ended.code == 3
        assert "date-mismatch" in ended.err
        assert (project.out / "index.html").is_file()
        assert project.run("send", SLOT, "--dry-run", "--json").json["findings"]["error"] == 1

    def test_a_live_send_to_the_disk_is_refused(self, project: Project) -> None:
        ended = project.run("send", SLOT)
        assert ended.code == 5
        assert "--dry-run" in ended.err
        assert not project.out.exists()

    def test_nobody_on_the_lists_is_no_error(self, project: Project) -> None:
        (project.folder / "subscribers" / "daily-buzz.csv").write_text("email\n")
        ended = project.run("send", SLOT, "--dry-run", "--json")
        assert ended.code == 0, ended.err
        assert ended.json["planned"] == 0
        assert (project.out / "index.html").is_file()


class TestCheckAndPreview:
    def test_check_prints_the_findings_with_their_lines(self, project: Project) -> None:
        ended = project.run("check", SLOT)
        assert ended.code == 0, ended.err
        assert f"issues/{SLOT}.txt:42  warn   empty-section" in ended.out
        assert "Gmail clip" in ended.out

    def test_check_json_is_the_issue_and_its_findings(self, project: Project) -> None:
        document = project.run("check", SLOT, "--json").json
        issue = document["issue"]
        assert set(issue) >= {"title", "date", "edition", "subject", "preheader", "sections"}
        assert [len(section["stories"]) for section in issue["sections"]] == [4, 2, 4, 7, 0]
        assert set(issue["sections"][0]["stories"][0]) == {"headline", "paragraphs", "link"}
        assert {"id", "level", "line", "message"} <= set(document["findings"][0])

    def test_fail_level_decides_the_exit_code(self, project: Project) -> None:
        assert project.run("check", SLOT, "--fail-level", "warn").code == 3
        assert project.run("check", SLOT, "--fail-level", "error").code == 0

    def test_new_writes_an_issue_that_is_held_back_until_it_is_filled(self, project: Project) -> None:
        ended = project.run("new", "2026-01-08")
        assert ended.code == 0, ended.err
        assert project.run("check", "2026-01-08").code == 3
        again = project.run("new", "2026-01-08")
        assert again.code == 5
        assert "issues/2026-01-08.txt" in again.err

    def test_preview_prints_one_part_for_one_subscriber(self, project: Project) -> None:
        who = "amelia.hart@example.com"
        message = email.message_from_string(project.run("preview", SLOT, "--format", "eml", "--as", who).out)
        assert who in str(message["To"])
        assert project.run("preview", SLOT, "--format", "html").out.startswith("<!DOCTYPE html>")
        stranger = project.run("preview", SLOT, "--as", "eve@example.com")
        assert stranger.code == 2
        assert "is on none of its lists" in stranger.err

    def test_preview_serve_makes_the_page_anew_at_each_reload(self, project: Project) -> None:
        command = [sys.executable, "-m", "newsletter", "preview", SLOT, "--serve", "--port", "0", "--json"]
        with subprocess.Popen(command, cwd=project.folder, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = json.loads(process.stdout.readline())["url"]
                assert "Daily Buzz" in fetch(url)
                project.edit(project.issue, "Daily Buzz: 7 January 2026", "Morning Hum: 7 January 2026")
                assert "Morning Hum" in fetch(url)
                assert fetch(url + "issue.txt")
                project.issue.write_text("")
                assert "Cannot be shown" in fetch(url, expect=500)
                for path in ("../../../config.toml", "%2e%2e/%2e%2e/%2e%2e/config.toml", "nothing", "%00"):
                    fetch(url + path, expect=404)
                fetch(url, expect=421, host="evil.example")
            finally:
                process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130


def fetch(url: str, expect: int = 200, host: str = "") -> str:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read()
    assert status == expect
    return str(body, "utf-8")


class TestConfiguration:
    def test_show_tells_each_value_with_its_origin_and_no_secret(self, project: Project) -> None:
        secret = {"NEWSLETTER_SECRET_KEY": "canary-value", "NEWSLETTER__SITE__BASE_URL": "https://news.example.com"}
        ended = project.run("config", "show", "--json", **secret)
        values = {one["key"]: one for one in ended.json}
        assert values["site.base_url"]["value"] == "https://news.example.com"
        assert values["site.base_url"]["origin"] == "environment NEWSLETTER__SITE__BASE_URL"
        assert values["newsletters.daily-buzz.title"]["origin"].startswith("config.toml:")
        assert "canary-value" not in ended.out + ended.err

    def test_schema_is_a_json_schema(self, project: Project) -> None:
        schema = project.run("config", "schema", "--json").json
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def test_ten_mistakes_are_told_at_once_without_a_traceback(self, project: Project) -> None:
        mistakes = "".join(f"mistake_{number} = 1\n" for number in range(10))
        project.edit(project.config, "[site]\n", f"[site]\n{mistakes}")
        ended = project.run("check", SLOT)
        assert ended.code == 3
        assert all(f"mistake_{number}" in ended.err for number in range(10))
        assert "Traceback" not in ended.err


class TestGlobalOptions:
    def test_they_may_stand_before_or_after_the_command(self, project: Project) -> None:
        other = project.folder.parent
        for arguments in (["-c", "x/config.toml", "check", SLOT], ["check", SLOT, "-c", "x/config.toml"]):
            ended = project.run(*arguments)
            assert ended.code == 3
            assert "x/config.toml" in ended.err
        assert project.run("check", SLOT, "-n", "evening").code == 2
        assert other.is_dir()

    def test_json_may_stand_before_the_command(self, project: Project) -> None:
        assert project.run("--json", "config", "schema").json == project.run("config", "schema", "--json").json

    def test_the_help_says_what_each_command_does_in_a_whole_sentence(self, project: Project) -> None:
        for group in ([], ["db"]):
            about = project.run(*group, "--help").out.partition("Commands:\n")[2]
            assert "..." not in about
            assert about.count(".") >= 4

    def test_from_another_folder_paths_follow_the_configuration(self, project: Project) -> None:
        (project.folder / "below").mkdir()
        command = [sys.executable, "-m", "newsletter", "-c", "../config.toml", "send", SLOT, "--dry-run"]
        done = subprocess.run(command, cwd=project.folder / "below", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (project.out / "index.html").is_file()

    def test_version_and_help_need_no_project(self, tmp_path: Path) -> None:
        for option in ("--version", "--help"):
            command = [sys.executable, "-m", "newsletter", option]
            assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["send", "--nonsense"],
            ["send", "2026-13-45", "--dry-run"],
            ["config"],
            ["check", "--fail-level", "x"],
        ],
    )
    def test_what_makes_no_sense_exits_2(self, project: Project, arguments: list[str]) -> None:
        ended = project.run(*arguments)
        assert ended.code == 2
        assert "Traceback" not in ended.err
        if arguments == ["config"]:
            assert ended.err.startswith("Usage: newsletter config ")
        else:
            assert project.run(*arguments, "--json").json["exit_code"] == 2

    def test_a_terminal_that_knows_no_such_character_gets_its_number(self, project: Project) -> None:
        ended = project.run("send", SLOT, "--dry-run", PYTHONIOENCODING="ascii")
        assert ended.code == 0, ended.err
        assert "DRY RUN \\u2013 nothing is sent" in ended.out

    def test_a_full_disk_behind_stdout_is_one_error(self, project: Project) -> None:
        command = f"{sys.executable} -m newsletter check {SLOT} > /dev/full"
        done = subprocess.run(["bash", "-c", command], cwd=project.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert done.stderr.startswith("✗ standard output cannot be written")

    def test_a_reader_that_goes_away_is_no_error(self, project: Project) -> None:
        command = f"{sys.executable} -m newsletter config schema | head -c 10; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], cwd=project.folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def _huge(project: Project) -> None:
    project.issue.write_bytes(b"Daily Buzz\n" + b"word " * 4_000_000)


#: what is done to the project → (exit code, what the message says)
BAD_INPUT = {
    "empty file": (lambda project: project.issue.write_bytes(b""), "empty"),
    "binary file": (lambda project: project.issue.write_bytes(bytes(range(256)) * 40), f"issues/{SLOT}.txt:1"),
    "not UTF-8": (lambda project: project.issue.write_bytes("Tïtle\n".encode("latin-1")), "UTF-8"),
    "wrong date": (lambda project: project.edit(project.issue, "7 January 2026", "9 January 2026"), "date-mismatch"),
    "title only": (lambda project: project.issue.write_text("Daily Buzz: 7 January 2026\n"), "title"),
    "broken TOML front matter": (lambda project: project.issue.write_text("+++\nsubject =\n+++\nA\n"), ".txt:2"),
    "broken YAML front matter": (lambda project: project.issue.write_text("---\nsubject: [\n---\nA\n"), ".txt:"),
    "missing issue": (lambda project: project.issue.unlink(), "newsletter new"),
    "20 MB issue": (_huge, "2"),
    "unknown template": (lambda project: project.edit(project.config, '"digest"', '"digset"'), "digset"),
    "broken MJML": (
        lambda project: project.edit(project.folder / "templates/digest/issue.mjml.j2", "<mj-body", "<mj-bdy"),
        "templates/digest/issue.mjml.j2:",
    ),
    "broken Jinja": (
        lambda project: project.edit(project.folder / "templates/digest/issue.txt.j2", "{%", "{% nonsense %}{%"),
        "templates/digest/issue.txt.j2:",
    ),
    "broken CSS": (
        lambda project: project.edit(project.folder / "templates/digest/inline.css", ": #", ": rgb(1 2 3 / 50%) #"),
        "templates/digest/inline.css:",
    ),
    "CSV without email": (
        lambda project: (project.folder / "subscribers/daily-buzz.csv").write_text("name\nAna\n"),
        "subscribers/daily-buzz.csv:1",
    ),
    "unwritable out": (lambda project: (project.folder / "out").write_text("in the way"), "out/daily-buzz/2026-01-07"),
    "a stranger's folder in place of the output": (
        lambda project: ((project.out / "notes").mkdir(parents=True), (project.out / "notes" / "a").write_text("")),
        "not the output of an earlier run",
    ),
    "a file in place of the output": (
        lambda project: (project.out.parent.mkdir(parents=True), project.out.write_text("mine")),
        "not the output of an earlier run",
    ),
    "no subscribers": (lambda project: shutil.rmtree(project.folder / "subscribers"), "subscribers: the folder"),
    "no config": (lambda project: project.config.unlink(), "newsletter init"),
}


@pytest.mark.parametrize("what", BAD_INPUT)
def test_bad_input_is_one_clear_message_and_leaves_nothing_half_written(project: Project, what: str) -> None:
    spoil, says = BAD_INPUT[what]
    spoil(project)  # type: ignore[no-untyped-call]  # the lambdas above
    before = sorted(project.folder.rglob("*"))
    contents = digests(project.folder)
    ended = project.run("send", SLOT, "--dry-run")
    assert ended.code == 3, ended
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err) < 1_500
    if what != "wrong date":  # that one is a failed check: the page is there to be looked at
        new = [path for path in project.folder.rglob("*") if path not in before and "var" not in path.parts]
        assert [path for path in new if path.is_file() and not path.name.endswith(".lock")] == []
        assert contents.items() <= digests(project.folder).items()


def test_a_csv_with_bad_rows_keeps_the_good_ones(project: Project) -> None:
    rows = "email,name,consent_at\ngood@example.com,Good,2025-01-01\nbad,Bad,2025-01-01\n,No,\nx@example.com,X,never\n"
    (project.folder / "subscribers/daily-buzz.csv").write_text(rows)
    summary = project.run("send", SLOT, "--dry-run", "--json").json
    assert summary["planned"] == 1
    assert summary["excluded"] == {"pending": 1, "invalid": 2}
