"""The browser's half can be read by a browser: a parser reads each explorer's module as it is sent."""

import subprocess
from importlib.resources import files

import pytest
from playwright._impl._driver import compute_driver_executable

from deepinside_edu.explorers.widget import browser_half

NAMES = sorted(file.name[:-3] for file in files("deepinside_edu.explorers").iterdir() if file.name.endswith(".js"))
NODE = compute_driver_executable()[0]
"""Playwright brings a Node.js of its own, so that no machine is without one."""


def complaint(script, folder):
    """What a JavaScript parser says of a module; nothing if it can be read."""
    module = folder / "module.mjs"
    module.write_text(script, encoding="utf-8")
    return subprocess.run([NODE, "--check", module], capture_output=True, text=True, timeout=60).stderr


def test_there_is_one_for_each_explorer():
    assert len(NAMES) == 8
    assert "kit" in NAMES


@pytest.mark.parametrize("name", [name for name in NAMES if name != "kit"])
def test_a_module_can_be_read(name, tmp_path):
    script, style = browser_half(name)
    assert complaint(script, tmp_path) == ""
    assert style.count("{") == style.count("}") > 10


def test_a_brace_too_few_a_name_twice_and_a_broken_line_are_seen(tmp_path):
    script, _ = browser_half("scores")
    for broken in (script.rsplit("}", 1)[0], f"{script}\nconst clamp = 1;", script.replace("=> {", "=> ", 1)):
        assert "SyntaxError" in complaint(broken, tmp_path)
