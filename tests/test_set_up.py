"""The set-up says in one line what is missing, is quick if there is nothing to do, and survives interruption."""

import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ["awk", "cat", "cksum", "cp", "df", "dirname", "grep", "mkdir", "rm", "rmdir", "sh", "sleep", "tail"]

# This stands in for python3.11: it notes how it was called, makes an environment with itself, and runs FAKE_PIP as pip.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
*ensurepip*) [ -z "${NO_VENV:-}" ] ;;
*version_info*) [ -z "${TOO_OLD:-}" ] ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip "*) eval "${FAKE_PIP:-}" ;;
esac
"""


class Project:
    """A copy of what the set-up reads, a PATH with only the tools that it uses, and a stand-in for Python."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        (self.root / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("pyproject.toml", "constraints.txt", "scripts/set_up.sh"):
            shutil.copy2(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.fake("python3.11", FAKE_PYTHON)

    def fake(self, name: str, script: str) -> None:
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def set_up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        # We use files, because a pipe would wait for what a killed set-up leaves behind.
        said, complained = self.root.parent / "stdout", self.root.parent / "stderr"
        with said.open("w") as stdout, complained.open("w") as stderr:
            run = subprocess.run(
                [self.root / "scripts" / "set_up.sh"],
                env={"PATH": str(self.bin), "CALLS": str(self.calls_file), **environment},
                stdout=stdout,
                stderr=stderr,
                timeout=120,
            )
        return subprocess.CompletedProcess(run.args, run.returncode, said.read_text(), complained.read_text())

    def calls(self, what: str) -> int:
        """How often the stand-in was called for ``what`` since the last question."""
        calls = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.unlink(missing_ok=True)
        return sum(call.startswith(f"-m {what}") for call in calls)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def assert_one_line(run: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = run.stderr.splitlines()
    assert run.returncode == 1
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("set-up: ")
    for word in words:
        assert word in lines[0]


def test_no_python(project):
    (project.bin / "python3.11").unlink()
    assert_one_line(project.set_up(), "no Python 3.10 to 3.13 found", "install one")
    assert not (project.root / ".venv").exists()


def test_python_too_old(project):
    assert_one_line(project.set_up(TOO_OLD="yes"), "no Python 3.10 to 3.13 found")


def test_the_named_python_is_the_only_one_tried(project):
    assert_one_line(project.set_up(PYTHON="/nowhere/python 3"), "no Python 3.10 to 3.13 found")


def test_no_venv_module(project):
    assert_one_line(project.set_up(NO_VENV="yes"), "python3.11 has no venv module", "python3-venv")


def test_no_disk(project):
    project.fake("df", "#!/bin/sh\necho 'Filesystem Blocks Used Available'\necho '/dev/x 9000000 8000000 1000000'\n")
    assert_one_line(project.set_up(), "only 1000 MB", "2500 MB")
    assert not (project.root / ".venv").exists()


def test_disk_full_on_the_way(project):
    pip = "echo 'ERROR: [Errno 28] No space left on device'; exit 1"
    assert_one_line(project.set_up(FAKE_PIP=pip), "the disk is full")


def test_not_writable(project):
    # This is a fake, because root may write everywhere.
    project.fake("mkdir", "#!/bin/sh\necho 'mkdir: Read-only file system' >&2\nexit 1\n")
    assert_one_line(project.set_up(), "cannot write to", str(project.root))


@pytest.mark.slow
def test_index_out_of_reach(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: every connection is refused
        run = project.set_up(
            PYTHON=sys.executable,
            PIP_CONFIG_FILE=os.devnull,
            PIP_INDEX_URL=f"http://127.0.0.1:{taken.getsockname()[1]}/simple",
            PIP_RETRIES="1",
            PIP_NO_CACHE_DIR="1",
        )
    assert_one_line(run, "the package index cannot be reached", "check the network")


def test_another_failure_shows_what_pip_said(project):
    run = project.set_up(FAKE_PIP="echo 'ERROR: no such thing'; exit 1")
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "ERROR: no such thing",
        "set-up: the installation failed as shown above; the whole log is .venv/set_up.log",
    ]


def test_an_environment_of_the_users_own_is_left_alone(project):
    own = project.root / ".venv" / "bin" / "mine"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert_one_line(project.set_up(), "not made by this script", "move it away")
    assert own.read_text() == "mine"


def test_two_set_ups_do_not_meet(project):
    project.set_up(FAKE_PIP="exit 1")
    (project.root / ".venv" / "set_up.pid").write_text(str(os.getpid()))
    assert_one_line(project.set_up(), "another set-up is running")


def test_first_run_shows_one_line_and_the_second_is_quick_and_silent(project):
    first = project.set_up()
    assert (first.returncode, first.stderr, len(first.stdout.splitlines())) == (0, "", 1)
    assert project.calls("pip install") == 1

    start = time.perf_counter()
    second = project.set_up()
    assert time.perf_counter() - start < 3
    assert (second.returncode, second.stderr, second.stdout) == (0, "", "")
    assert project.calls("pip") == 0


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed_into_the_same_environment(project, name):
    project.set_up()
    project.calls("pip")
    with (project.root / name).open("a") as file:
        file.write("# changed\n")
    assert project.set_up().returncode == 0
    calls = project.calls_file.read_text()
    assert "-m pip install" in calls
    assert "-m venv" not in calls


def test_an_interrupted_run_is_made_good(project):
    half_written = project.root / ".venv" / "half_written"
    killed = project.set_up(FAKE_PIP="echo > .venv/half_written; kill -9 $PPID")
    assert killed.returncode == -9
    assert half_written.exists()

    assert project.set_up().returncode == 0
    assert not half_written.exists()
    project.calls("pip")
    project.set_up()
    assert project.calls("pip") == 0


def test_a_moved_project_is_set_up_afresh(project, tmp_path):
    project.set_up()
    project.calls("venv")
    project.root = project.root.rename(tmp_path / "moved")
    assert project.set_up().returncode == 0
    assert project.calls("venv") == 1


def test_continuous_integration_types_what_a_contributor_types(tmp_path):
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\npwd\necho "make $*"\n')
    make.chmod(0o755)
    run = subprocess.run(
        [ROOT / ".ci" / "run"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    here = str(ROOT.resolve())
    assert run.stdout.splitlines() == [here, "make test", here, "make test-everywhere ARGS=--minutes 15"]


@pytest.mark.parametrize("bad", [(), ("ruff",), ("mypy", "--nbval")])
def test_make_test_runs_all_of_its_parts_and_names_those_that_failed(tmp_path, bad):
    """This uses a stand-in for Python that only notes how it was called, and fails on request."""
    parts = {"ruff": "lint", "mypy": "types", "worksteal": "test-steps", "tests/browser": "test-browser"}
    parts |= {"--nbval": "test-lessons"}
    shutil.copy2(ROOT / "Makefile", tmp_path)
    for name, script in {
        "scripts/set_up.sh": "",
        ".venv/bin/oxlint": 'echo oxlint "$*" >> linted\n',
        ".venv/bin/oxfmt": 'echo oxfmt "$*" >> linted\n',
        ".venv/bin/python": 'echo "$*" >> calls\n' + "".join(f'case "$*" in *{word}*) exit 1;; esac\n' for word in bad),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
    run = subprocess.run(["make", "test"], cwd=tmp_path, capture_output=True, text=True, check=False)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == len(parts)
    assert all(word in call for word, call in zip(parts, calls, strict=True))
    linted = (tmp_path / "linted").read_text().splitlines() if "ruff" not in bad else ["oxlint", "oxfmt"]
    assert [line.split()[0] for line in linted] == ["oxlint", "oxfmt"]
    assert (run.returncode != 0) == bool(bad)
    if bad:
        assert f"these parts failed: {' '.join(parts[word] for word in bad)}\n" in run.stderr
    else:
        assert "every part passed" in run.stdout


@pytest.mark.slow
def test_the_wheel_carries_network_photos_and_lessons(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    assert "deepinside_edu/data/squeezenet1_1.safetensors" in carried
    assert "deepinside_edu/notebooks/01_scores.ipynb" in carried

    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "deepinside_edu").rglob("*.*") if path.is_file()}
    lessons = {f"deepinside_edu/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "notebooks").rglob("*.ipynb")}
    wanted = {name for name in package | lessons if "__pycache__" not in name and "/.ipynb_checkpoints/" not in name}
    assert wanted - carried == set()
