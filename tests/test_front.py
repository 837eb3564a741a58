"""The explorers' browser half: modules that a page could load, and the one text that anywidget takes of them."""

import json
import subprocess

import pytest
from playwright._impl._driver import compute_driver_executable

import deepinside_edu as di
from deepinside_edu.explorers.joined import FRONT, browser_half, joined

VIEWS = sorted(file.stem for file in (FRONT / "views").glob("*.js"))
MODULES = sorted(FRONT.rglob("*.js"))
NODE = compute_driver_executable()[0]
"""Playwright brings a Node.js of its own, so that no machine is without one."""


def node(*arguments, **options):
    return subprocess.run([NODE, *arguments], capture_output=True, text=True, timeout=60, **options)


def complaint(script, folder):
    """What a JavaScript parser says of a module; nothing if it can be read."""
    module = folder / "module.mjs"
    module.write_text(script, encoding="utf-8")
    return node("--check", module).stderr


def test_there_is_one_for_each_explorer():
    assert len(VIEWS) == 7
    assert set(VIEWS) == set(di.explore.__all__)
    assert {file.stem for file in (FRONT / "views").glob("*.css")} == set(VIEWS)


@pytest.mark.parametrize("name", VIEWS)
def test_the_joined_text_can_be_read(name, tmp_path):
    script, style = browser_half(name)
    assert complaint(script, tmp_path) == ""
    assert style.count("{") == style.count("}") > 10


def test_a_brace_too_few_a_name_twice_and_a_broken_line_are_seen(tmp_path):
    script, _ = browser_half("scores")
    for broken in (script.rsplit("}", 1)[0], f"{script}\nconst clamp = 1;", script.replace("=> {", "=> ", 1)):
        assert "SyntaxError" in complaint(broken, tmp_path)


def test_every_module_loads_by_itself_and_has_what_the_others_import():
    """As a page without a kernel does it; an import of what a module does not have is an error."""
    said = node("--input-type=module", "--eval", "".join(f"await import({json.dumps(str(m))});" for m in MODULES))
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_of_an_import_or_an_export_is_left(name):
    script, _ = browser_half(name)
    lines = script.splitlines()
    assert not [line for line in lines if line.startswith(("import", "export")) and "export default" not in line]
    assert sum(line.startswith("export default ") for line in lines) == 1


def test_a_module_stands_behind_what_it_imports_and_once(tmp_path):
    (tmp_path / "low.js").write_text("export const one = 1;\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mid.js").write_text(
        '// Why.\n\nimport { one } from "../low.js";\n\nexport function two() {\n  return 2 * one;\n}\n'
    )
    (tmp_path / "b" / "top.js").write_text(
        'import {\n  one,\n} from "../low.js";\nimport { two } from "./mid.js";\n\nexport default () => one + two();\n'
    )
    assert joined(tmp_path / "b" / "top.js") == (
        "const one = 1;\n\n// Why.\n\n\nfunction two() {\n  return 2 * one;\n}\n\n\nexport default () => one + two();\n"
    )
