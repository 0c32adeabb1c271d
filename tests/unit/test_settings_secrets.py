"""Secrets are read where they are used, and shown nowhere."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import ConfigError, OutputError
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.settings.masking import mask_broken_line, mask_database_url, mask_line, mask_url
from newsletter.settings.provider_model import SendgridProvider, SmtpProvider
from newsletter.settings.secret_key import HOW_TO_MAKE, LEAST_LENGTH, site_secret, site_secrets
from newsletter.settings.show import format_problems, shown_values

CANARY = "hunter2-CANARY"
NEWSLETTER = '[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n'
FULL = f"""\
{NEWSLETTER}
[site]
secret_key = {{ env = "SITE_KEY" }}
secret_key_fallbacks = [{{ file = "old.key" }}, {{ env = "OLDER_KEY" }}]
[database]
url = "postgresql+psycopg://news:{CANARY}@db.example.com/news?password={CANARY}"
[providers.smtp]
kind = "smtp"
password = {{ env = "SMTP_PASSWORD" }}
dkim = {{ selector = "s1", domain = "example.com", key = {{ file = "dkim.pem" }} }}
[providers.sendgrid]
kind = "sendgrid"
[notifications]
urls = ["slack://{CANARY}/T/B", "https://user:{CANARY}@hooks.example.com/{CANARY}", "{CANARY}"]
heartbeat_url = "https://beat.example.com/{CANARY}"
"""
ENVIRON = {"SITE_KEY": CANARY * 3, "SMTP_PASSWORD": CANARY, "SENDGRID_API_KEY": CANARY}


def load(folder: Path, text: str, **environ: str) -> Loaded:
    path = folder / "config.toml"
    path.write_text(text)
    return load_settings(path, environ)


def everything_said(error: BaseException) -> Iterator[str]:
    """All that a log or a crash report could print of an error: repr, text, traceback, and what hangs on it."""
    while True:
        yield from (str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error)))
        inner = error.__context__ or error.__cause__
        if inner is None:
            return
        error = inner


def test_no_way_of_printing_settings_shows_a_secret(tmp_path: Path) -> None:
    (tmp_path / "old.key").write_text(CANARY)
    (tmp_path / "dkim.pem").write_text(CANARY)
    loaded = load(tmp_path, FULL, **ENVIRON)
    shown = shown_values(loaded, ENVIRON)
    printed = [repr(loaded), str(loaded.settings), repr(shown), json.dumps([one.value for one in shown])]
    assert not any(CANARY in one for one in printed)
    values = {one.key: one.value for one in shown}
    assert values["site.secret_key"] == '{ env = "SITE_KEY" } (set)'
    assert values["site.secret_key_fallbacks"] == ['{ file = "old.key" } (set)', '{ env = "OLDER_KEY" } (not set)']
    assert values["providers.smtp.dkim"] == {
        "selector": "s1",
        "domain": "example.com",
        "key": '{ file = "dkim.pem" } (set)',
    }
    assert values["providers.sendgrid.webhook_public_key"] == '{ env = "SENDGRID_WEBHOOK_KEY" } (not set)'
    assert values["database.url"] == "postgresql+psycopg://…@db.example.com/news"
    assert values["notifications.urls"] == ["slack://…", "https://hooks.example.com/…", "…"]
    assert values["notifications.heartbeat_url"] == "https://beat.example.com/…"


@pytest.mark.parametrize(
    "mistake",
    [
        f'[site]\nsecret_key = "{CANARY}"',
        f'[site]\nsecret_kye = "{CANARY}"',
        f'[site]\nsecret_key_fallbacks = ["{CANARY}"]',
        f'[site]\nsecret_key_fallbacks = [\n  "{CANARY}",\n]',
        f'[site]\nsecret_key = {{ env = "X", value = "{CANARY}" }}',
        f'[site]\nsecret_key = {{ env = "{CANARY} is no name" }}',
        f'[site]\nsecret_key = """\n{CANARY}"""',
        f'[site]\npass = "{CANARY}"',
        f'[database]\nurl = "mysql://u:{CANARY}@h/d"',
        f'[database]\nurl = "{CANARY}"',
        f'[database]\nurl = "postgresql://u:{CANARY}@h:xx/d"',
        f'[database]\nurl = "postgresql://u:{CANARY}@x@h/d"',
        f'[database]\nurl = "postgresql://u:{CANARY}@[::1/d"',
        f'[database]\nurl = "postgresql://u/x:{CANARY}@h/d"',
        f'[database]\nurl = "postgresql://u:/{CANARY}"',
        f'[database]\nuri = "postgresql://u:{CANARY}@h/d"',
        f'[notifications]\nurls = "{CANARY}"',
        f'[notifications]\nurls = ["{CANARY}", 3]',
        f'[notifications]\nheartbeat_url = "ftp://{CANARY}"',
        f'[providers.x]\nkind = "smtp"\npassword = "{CANARY}"',
        f'[providers]\nx = {{ kind = "smtp", password = "{CANARY}", prot = 25 }}',
        f'[providers]\nx = {{ kind = "smtp", pw = "{CANARY}", port = "25" }}',
        f'[providers.x]\nkind = "sendgrid"\nhost = "https://u:{CANARY}@h/"',
        f'[providers.x]\nkind = "smtp"\npassword = "{CANARY}',
        f"[providers.x]\nkind = 'smtp'\npassword = '{CANARY}",
        f'[providers.x]\nkind = "smtp"\npassword = "{CANARY}" x',
        f'[providers.x]\nkind = "smtp"\npassword = {CANARY}',
        f'[providers.x]\nkind = "smtp"\npassword = """\n{CANARY} \\q\n"""',
        f'[notifications]\nurls = [\n  "{CANARY}"\n  "{CANARY}"\n]',
    ],
)
def test_no_mistake_shows_the_secret_it_is_about(tmp_path: Path, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{NEWSLETTER}{mistake}\n")
    said = [*everything_said(caught.value), format_problems(caught.value)]
    assert not any(CANARY in one for one in said)


def test_a_literal_secret_is_refused_with_the_way_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'{NEWSLETTER}[providers.x]\nkind = "sendgrid"\napi_key = "{CANARY}"\n')
    (problem,) = caught.value.problems
    assert '{ env = "NAME" } or { file = "PATH" }' in problem.message
    assert (problem.place.line, problem.excerpt) == (6, 'api_key = "…"')


def test_a_secret_that_cannot_be_read_names_its_key_and_where_to_put_it(tmp_path: Path) -> None:
    loaded = load(tmp_path, FULL)
    sendgrid, smtp = loaded.settings.providers["sendgrid"], loaded.settings.providers["smtp"]
    assert isinstance(sendgrid, SendgridProvider)
    with pytest.raises(ConfigError, match=r"providers\.sendgrid\.api_key: .* SENDGRID_API_KEY is not set"):
        sendgrid.api_key.resolve({}, tmp_path)
    with pytest.raises(ConfigError, match=r"SENDGRID_API_KEY is empty"):
        sendgrid.api_key.resolve({"SENDGRID_API_KEY": ""}, tmp_path)
    assert isinstance(smtp, SmtpProvider)
    assert smtp.dkim is not None
    with pytest.raises(ConfigError, match=r"providers\.smtp\.dkim\.key: .*dkim\.pem cannot be read") as caught:
        smtp.dkim.private_key.resolve({}, tmp_path)
    assert caught.value.problems[0].place.line == 13
    (tmp_path / "dkim.pem").write_bytes(b"\xff" + CANARY.encode())
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        smtp.dkim.private_key.resolve({}, tmp_path)
    assert not any(CANARY in one for one in everything_said(caught.value))
    (tmp_path / "dkim.pem").write_text("line one\nline two\r\n")
    assert smtp.dkim.private_key.resolve({}, tmp_path) == "line one\nline two"


def test_the_sites_key_is_generated_once_beside_the_config_on_sqlite(tmp_path: Path) -> None:
    loaded = load(tmp_path, NEWSLETTER)
    secret = site_secret(loaded, {})
    path = tmp_path / "var" / "secret.key"
    assert len(secret) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secret.key"]
    assert site_secret(loaded, {}) == secret


def test_an_unset_variable_means_a_generated_key_on_sqlite_and_links_signed_with_it_keep_working(
    tmp_path: Path,
) -> None:
    loaded = load(tmp_path, f'{NEWSLETTER}[site]\nsecret_key = {{ env = "SITE_KEY" }}\n')
    generated = site_secret(loaded, {})
    key = "k" * LEAST_LENGTH
    assert site_secret(loaded, {"SITE_KEY": key}) == key
    assert site_secrets(loaded, {"SITE_KEY": key}) == (key, generated)
    with pytest.raises(ConfigError, match="SITE_KEY is empty"):
        site_secret(loaded, {"SITE_KEY": ""})


@pytest.mark.parametrize("key", [CANARY, CANARY + "x" * (LEAST_LENGTH - 1 - len(CANARY)), CANARY + " " * LEAST_LENGTH])
def test_a_site_key_that_could_be_guessed_is_refused_with_the_way_to_make_one(tmp_path: Path, key: str) -> None:
    loaded = load(tmp_path, FULL)
    with pytest.raises(ConfigError, match=r"site\.secret_key: .* SITE_KEY holds fewer than 32 characters") as caught:
        site_secret(loaded, {"SITE_KEY": key})
    [problem] = caught.value.problems
    assert (problem.place.line, HOW_TO_MAKE in problem.suggestion) == (6, True)
    assert not any(CANARY in one for one in [*everything_said(caught.value), format_problems(caught.value)])


def test_an_earlier_key_that_could_be_guessed_is_refused_too(tmp_path: Path) -> None:
    loaded = load(tmp_path, FULL)
    long = CANARY * 3
    (tmp_path / "old.key").write_text(f"{long}\n")
    assert site_secrets(loaded, {"SITE_KEY": long, "OLDER_KEY": long + "2"}) == (long, long + "2")
    with pytest.raises(ConfigError, match=r"secret_key_fallbacks.*: .* OLDER_KEY holds fewer than 32") as caught:
        site_secrets(loaded, {"SITE_KEY": long, "OLDER_KEY": CANARY})
    assert HOW_TO_MAKE in caught.value.problems[0].suggestion
    (tmp_path / "old.key").write_text(CANARY)
    with pytest.raises(ConfigError, match=r"secret_key_fallbacks.*: the file old\.key holds fewer than 32") as caught:
        site_secrets(loaded, {"SITE_KEY": long, "OLDER_KEY": long})
    assert not any(CANARY in one for one in [*everything_said(caught.value), format_problems(caught.value)])


def test_the_way_to_make_a_key_makes_one_that_is_taken(tmp_path: Path) -> None:
    command = shlex.split(HOW_TO_MAKE)
    made = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, check=True).stdout.strip()
    assert site_secret(load(tmp_path, FULL), {"SITE_KEY": made}) == made


def test_machines_that_share_a_database_must_share_a_key(tmp_path: Path) -> None:
    database = '[database]\nurl = "postgresql+psycopg://db.example.com/news"\n'
    with pytest.raises(ConfigError, match=r"site\.secret_key is missing"):
        site_secret(load(tmp_path, NEWSLETTER + database), {})
    with pytest.raises(ConfigError, match="SITE_KEY is not set"):
        site_secret(load(tmp_path, f'{NEWSLETTER}{database}[site]\nsecret_key = {{ env = "SITE_KEY" }}\n'), {})
    assert not (tmp_path / "var").exists()


def test_processes_that_generate_at_the_same_time_agree_on_one_key(tmp_path: Path) -> None:
    load(tmp_path, NEWSLETTER)
    program = (
        "import pathlib, sys\n"
        "from newsletter.settings.load import load_settings\n"
        "from newsletter.settings.secret_key import site_secret\n"
        "loaded = load_settings(pathlib.Path(sys.argv[1]), {})\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(site_secret(loaded, {}))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "config.toml")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload] # the pipes are fixed
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    keys = {process.communicate()[0] for process in processes}
    assert len(keys) == 1
    assert keys == {(tmp_path / "var" / "secret.key").read_text()}


def test_a_damaged_or_unwritable_key_is_an_error_and_never_a_new_key(tmp_path: Path) -> None:
    loaded = load(tmp_path, NEWSLETTER)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "secret.key").write_text("")
    with pytest.raises(ConfigError, match="holds no key"):
        site_secret(loaded, {})
    (tmp_path / "var" / "secret.key").unlink()
    (tmp_path / "var").rmdir()
    (tmp_path / "var").write_text("a file stands in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        site_secret(loaded, {})


def test_lines_are_masked_only_where_a_secret_may_stand() -> None:
    assert mask_line('base_url = "https://news.example.com/"') == 'base_url = "https://news.example.com/"'
    assert mask_line('password = { env = "SMTP_PASSWORD" }') == 'password = { env = "SMTP_PASSWORD" }'
    assert mask_line(f'host = "https://user:{CANARY}@example.com"') == 'host = "https://…@example.com"'
    assert mask_line("[providers.sendgrid]") == "[providers.sendgrid]"
    assert mask_url("https://hooks.example.com") == "https://hooks.example.com"
    assert mask_database_url("sqlite:///var/newsletter.db") == "sqlite:///var/newsletter.db"


@given(
    st.sampled_from(["password", "api_kye", "secret_key", '"pass word"', "smtp.passwd", "url", "urls"]),
    st.text(max_size=12),
    st.text(max_size=12),
    st.sampled_from(["", "  # a comment", ", port = 25 }"]),
)
def test_no_text_gets_its_secret_past_the_mask(key: str, before: str, after: str, rest: str) -> None:
    text = json.dumps(f"{before}{CANARY}{after}", ensure_ascii=False)  # JSON's texts are TOML's basic ones
    assert CANARY not in mask_line(f"{key} = {text}{rest}")
    assert CANARY not in mask_line(f"{key} = [1, {text}]{rest}")
    assert CANARY not in mask_line(f"anything = {text}{rest}", all_texts=True)
    assert CANARY not in mask_broken_line(f"{key} = {before}{CANARY}{after}", frozenset(["name"]), inside_text=False)


def test_carets_stay_under_the_key_when_the_line_before_it_is_masked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'{NEWSLETTER}[providers]\nx = {{ kind = "smtp", username = "{CANARY}", prot = 25 }}\n')
    _, line, carets = format_problems(caught.value).splitlines()
    assert line[carets.index("^") : carets.rindex("^") + 1] == "prot"
