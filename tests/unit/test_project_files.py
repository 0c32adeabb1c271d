"""`newsletter init` writes all of a project or none of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from newsletter import project_files
from newsletter.errors import GuardRefused, OutputError
from newsletter.project_files import Shipped, copy_project, files_of, shipped

ROOT = Path(__file__).parents[2]


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_new_project_holds_the_files_of_the_repository(tmp_path: Path) -> None:
    written = copy_project(tmp_path / "a" / "demo")

    made = everything_in(tmp_path / "a" / "demo")
    assert sorted(made) == sorted(str(file.relative_to(tmp_path / "a" / "demo")) for file in written)
    for name, data in made.items():
        if name != ".gitignore":
            assert data == (ROOT / name).read_bytes()
    wanted = {"config.toml", ".gitignore", "issues/2026-01-07.txt", "subscribers/daily-buzz.csv"}
    assert wanted | {"templates/digest/issue.mjml.j2", "templates/digest/template.toml"} <= made.keys()


def test_the_projects_gitignore_keeps_real_lists_and_outputs_out_of_git(tmp_path: Path) -> None:
    copy_project(tmp_path)
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert {"/out/", "/var/", "/subscribers/*", "!/subscribers/daily-buzz.csv"} <= set(lines)


def test_files_of_ones_own_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "templates" / "mine").mkdir(parents=True)
    (tmp_path / "templates" / "mine" / "issue.mjml.j2").write_text("mine")
    copy_project(tmp_path)
    assert (tmp_path / "templates" / "mine" / "issue.mjml.j2").read_text() == "mine"
    assert (tmp_path / "config.toml").is_file()


def test_files_in_the_way_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("# mine\n")
    (tmp_path / "issues").write_text("a file where a folder should be")
    (tmp_path / ".gitignore").symlink_to("nowhere")
    with pytest.raises(GuardRefused) as refused:
        copy_project(tmp_path)
    for name in ("config.toml", "issues", ".gitignore"):
        assert name in refused.value.message
    assert str(tmp_path) in str(refused.value)
    assert refused.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "config.toml", "issues"]
    assert (tmp_path / "config.toml").read_text() == "# mine\n"


def test_a_second_init_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    copy_project(tmp_path)
    (tmp_path / "config.toml").write_text("# edited\n")
    before = everything_in(tmp_path)
    with pytest.raises(GuardRefused, match=r"config\.toml"):
        copy_project(tmp_path)
    assert everything_in(tmp_path) == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("")
    with pytest.raises(GuardRefused, match="not a folder"):
        copy_project(tmp_path / "demo")


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write a new project") as failed:
        copy_project(tmp_path / "file" / "demo")
    assert failed.value.hint


@pytest.mark.parametrize("fails_at", [1, 4])
def test_a_disk_that_fills_up_half_way_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """A fault that cannot be had otherwise: the nth file cannot be moved into place."""
    real, calls = Path.rename, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OutputError, match="No space left on device"):
        copy_project(tmp_path / "deep" / "demo")
    assert list(tmp_path.iterdir()) == []


def test_backups_and_hidden_files_do_not_ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "templates", checkout / "templates")
    for litter in ("digest/inline.css~", "digest/.inline.css.swp", ".git/x", "__pycache__/x.pyc"):
        (checkout / "templates" / litter).parent.mkdir(exist_ok=True)
        (checkout / "templates" / litter).write_text("")
    (checkout / "templates" / "digest" / "extra.css").write_text("")
    monkeypatch.setattr(project_files, "_PACKAGE", checkout / "newsletter")
    names = [str(file) for file in files_of(Shipped.TEMPLATES)]
    assert "templates/digest/extra.css" in names
    assert "templates/digest/inline.css" in names
    assert not [name for name in names if "~" in name or "/." in name or "__pycache__" in name]


def test_a_broken_installation_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_files, "_PACKAGE", tmp_path / "newsletter")
    with pytest.raises(OutputError, match=r"lacks its own config\.toml"):
        shipped(Shipped.CONFIG)
