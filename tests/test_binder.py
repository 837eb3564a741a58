"""Binder's files agree with what the project is tested with, and repo2docker uses them."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
BINDER = ROOT / "binder"
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"


def pins(path: Path, python: str) -> dict[str, str]:
    """Map name to version, for the lines of a requirements file that apply to this Python."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "-"))]
    found = [Requirement(line) for line in lines]
    return {
        canonicalize_name(requirement.name): str(requirement.specifier)
        for requirement in found
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python})
    }


def binder_python() -> str:
    return (BINDER / "runtime.txt").read_text().strip().removeprefix("python-")


def test_constraints_pin_releases_and_name_no_machine():
    for python in ("3.10", "3.11", "3.12", "3.13"):
        for name, version in pins(ROOT / "constraints.txt", python).items():
            assert version.startswith("=="), name
            assert "+" not in version, name
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert " @ " not in text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has pins of its own")
def test_pinned_releases_run_on_the_first_patch_of_each_python():
    refused = {}
    for name in pins(ROOT / "constraints.txt", "3.11"):
        try:
            asked = SpecifierSet(metadata(name).get("Requires-Python", ""))
        except PackageNotFoundError:  # of the bench extra
            continue
        if not all(asked.contains(python) for python in ("3.11.0", "3.12.0", "3.13.0")):
            refused[name] = str(asked)
    assert refused == {}


def test_python_is_the_one_that_the_project_is_tested_with():
    assert (BINDER / "runtime.txt").read_text() == "python-3.11\n"


def test_pins_agree_with_the_constraints():
    wanted = pins(BINDER / "requirements.txt", binder_python())
    tested = pins(ROOT / "constraints.txt", binder_python())
    assert wanted == {name: tested[name] for name in wanted}


def test_every_dependency_is_there_and_torch_comes_without_cuda():
    dependencies = {
        canonicalize_name(requirement.name)
        for requirement in map(Requirement, requires("deepinside_edu") or [])
        if requirement.marker is None
    }
    # postBuild installs the package without its dependencies; JupyterLab is Binder's own.
    assert set(pins(BINDER / "requirements.txt", binder_python())) == dependencies - {"jupyterlab"}
    assert CPU_WHEELS in (BINDER / "requirements.txt").read_text().splitlines()


def test_post_build_is_a_script_that_may_run():
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert "pip install --no-cache-dir --no-deps ." in script.read_text()


def test_start_hands_on_what_it_is_given_with_threads_that_sleep():
    script = BINDER / "start"
    assert os.access(script, os.X_OK)
    run = subprocess.run([script, "printenv", "OMP_WAIT_POLICY"], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "PASSIVE"


def test_lesson_1_opens():
    settings = json.loads((BINDER / "jupyter_server_config.json").read_text())
    address = settings["ServerApp"]["default_url"]
    assert address == "/lab/tree/notebooks/01_scores.ipynb"
    assert (ROOT / address.removeprefix("/lab/tree/")).is_file()


@pytest.mark.slow
def test_repo2docker_takes_up_every_file():
    run = subprocess.run(
        # repo2docker refuses to run as root unless another user is named.
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", "--user-id=1000", "--user-name=reader", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    build_file = run.stdout + run.stderr
    for words in ("binder/requirements.txt", "binder/postBuild", "binder/start", "python=3.11"):
        assert words in build_file
