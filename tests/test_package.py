"""The package imports quickly, keeps its names whatever the order of imports, and its imports run one way only."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import deepinside_edu as di

PACKAGE = Path(di.__file__).parent
STEPS = {
    "opening", "images", "squeezenet", "torchvision_import", "classifier", "weights", "saliency", "seeds",
    "colour_models", "graph_cut", "accept", "ascent", "boxes", "localise", "class_model", "backward_by_hand",
    "recording", "rule_coverage", "deconvnet", "top_photos", "names", "trial", "wrapping", "twin", "foreign_hooks",
}  # fmt: skip


def in_a_fresh_process(program):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# --- what an import costs --------------------------------------------------------------------------------------------

LOADED = """
import sys
heavy = "numpy", "PIL", "torch", "torchvision", "matplotlib", "matplotlib.pyplot", "scipy", "maxflow", "ipywidgets"
def tell(): print("+".join(name for name in heavy if name in sys.modules) or "nothing")
"""


@pytest.mark.slow
def test_each_step_loads_what_it_needs_and_nothing_before():
    after = in_a_fresh_process(LOADED + """
import deepinside_edu as di; tell()
picture = di.open_image(di.photo("panda")); tell()
di.figures.draw_boxes(picture, [(0, 0, 9, 9)]); tell()
seeds = di.seeds([[0, 1, 2], [3, 4, 5]]); tell()
di.figures.heat_map([[0, 1]]); tell()
di.load_classifier(device="cpu").top(picture); tell()
""")  # fmt: skip
    assert after == [
        "nothing", "numpy+PIL", "numpy+PIL", "numpy+PIL", "numpy+PIL+matplotlib", "numpy+PIL+torch+matplotlib",
    ]  # fmt: skip


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_public_name_is_there_and_explains_itself():
    for name in di.__all__:
        assert inspect.getdoc(getattr(di, name)), name
    assert len(set(di.__all__)) == len(di.__all__)
    assert set(di.__all__) <= set(dir(di))


def test_the_public_names_stand_in_the_order_of_the_pipeline():
    homes = list(di._HOMES)
    order = [homes.index(next(home for home in homes if name in di._HOMES[home])) for name in di.__all__[:-3]]
    assert order == sorted(order)
    assert di.__all__[-3:] == ["figures", "explore", "evaluation"]


@pytest.mark.parametrize("name", [name for name in di.__all__ if inspect.isfunction(getattr(di, name))])
def test_a_step_names_every_argument_in_its_docstring(name):
    function = getattr(di, name)
    documentation = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}: " in documentation
    assert "\nReturns:\n" in documentation or "\nYields:\n" in documentation


def test_the_type_checker_sees_the_names_that_python_gives():
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {(n.module, a.asname or a.name) for n in block.body if n.module for a in n.names}
    assert seen == {(home, name) for home, names in di._HOMES.items() for name in names}
    modules = {(a.name, a.asname or a.name) for n in block.body if not n.module for a in n.names}
    assert modules == {(module, name) for name, module in di._MODULES.items() if name in di.__all__}


def test_an_unknown_name_is_told_those_near_it():
    with pytest.raises(AttributeError, match=r"no attribute 'salience'. Near: (\w+, )*saliency_map\b"):
        di.salience  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'. dir\(di\) lists what there is."):
        di.zzz  # noqa: B018
    with pytest.raises(ImportError):
        from deepinside_edu import salience  # noqa: F401


def test_completion_offers_the_public_names_alone():
    di.saliency_maps  # noqa: B018 - a name that is there and not offered
    assert [name for name in dir(di) if not name.startswith("__")] == sorted(di.__all__)


def test_the_public_names_are_those_that_lessons_use():
    used = set()
    for path in (PACKAGE.parent / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            used |= set(re.findall(r"\bdi\.(\w+)", "".join(cell["source"]))) if cell["cell_type"] == "code" else set()
    assert set(di.__all__) == used | {"open_image"}


def test_results_and_what_no_lesson_uses_stay_within_reach():
    for home, names in di._HOMES.items():
        for name in names:
            assert getattr(di, name) is getattr(import_module(f"deepinside_edu.{home}"), name)


@pytest.mark.slow
def test_a_step_stays_a_function_in_every_order_of_imports():
    """`di.seeds` is the step, though a file of that name exists: importing the file must not put it in its place."""
    told = in_a_fresh_process("""
import sys
from importlib import import_module
from itertools import permutations
from types import FunctionType

names = "seeds", "localise", "graph_cut", "colour_models", "class_model"
ways = {
    "file": lambda name: import_module(f"deepinside_edu.{name}"),
    "attribute": lambda name: getattr(import_module("deepinside_edu"), name),
    "from": lambda name: exec(f"from deepinside_edu import {name}"),
}
for order in permutations(names, 2):
    for way in ways.values():
        for module in [m for m in sys.modules if m.split(".")[0] == "deepinside_edu"]:
            del sys.modules[module]
        for name in order:
            way(name)
            import deepinside_edu as di
            for each in names:
                assert type(getattr(di, each)) is FunctionType, (order, each)
        for name in names:
            assert getattr(sys.modules[f"deepinside_edu.{name}"], name) is getattr(di, name)
print("done")
""")
    assert told == ["done"]


def test_the_version_is_that_of_the_project():
    text = (PACKAGE.parent / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{di.__version__}"\n' in text


# --- one way only ----------------------------------------------------------------------------------------------------


def room(path):
    """The first name under the package: `images`, `explorers`, …"""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path, at_run_time=False):
    """Names of modules that a file imports anywhere, or what it does run, a room of the package as `.room`."""
    here = ["deepinside_edu", *path.relative_to(PACKAGE).with_suffix("").parts]
    tree = ast.parse(path.read_text("utf-8"))
    checked = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    unseen = {id(each) for block in checked for n in block.body for each in ast.walk(n)} if at_run_time else set()
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parent = here[: -node.level] if node.level else []
            base = parent + (node.module.split(".") if node.module else [])
            found = [[*base, alias.name] if base == ["deepinside_edu"] else base for alias in node.names]
        else:
            continue
        for name in found:
            yield f".{name[1]}" if name[0] == "deepinside_edu" and len(name) > 1 else name[0]


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")
ROOMS = {room(p) for p in MODULES}


def own_rooms(path):
    """The rooms from which a file imports, except its own and the package's plain values such as its version."""
    return {name[1:] for name in imports(path) if name[0] == "."} & ROOMS - {room(path)}


@pytest.mark.slow
@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_run_one_way(path):
    mine, theirs = room(path), own_rooms(path)
    allowed = {
        "figures": {"boxes"}, "lab": set(), "exercises": STEPS | {"figures"},
        "explorers": STEPS | {"figures", "evaluation"}, "evaluation": STEPS | {"figures"},
        "cli": STEPS | {"figures", "lab", "evaluation"}, "__main__": {"cli"},
    } | dict.fromkeys(STEPS, STEPS | {"figures"})  # fmt: skip
    assert mine in allowed, f"{mine} is a new room: say here what it may import"
    assert theirs <= allowed[mine]


def test_no_two_steps_import_each_other():
    needs = {step: own_rooms(PACKAGE / f"{step}.py") & STEPS for step in STEPS & ROOMS}
    while needs:
        ready = {step for step, needed in needs.items() if not needed & needs.keys()}
        assert ready, f"a circle among {sorted(needs)}"
        needs = {step: needed for step, needed in needs.items() if step not in ready}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_widgets_pictures_and_torch_stay_in_their_rooms(path):
    names = set(imports(path))
    if room(path) != "explorers":
        assert not names & {"ipywidgets", "traitlets", "anywidget"}
    if room(path) not in ("figures", "explorers"):
        assert "matplotlib" not in set(imports(path, at_run_time=True))
    if room(path) in ("boxes", "figures", "seeds", "colour_models", "graph_cut", "lab"):
        assert not names & {"torch", "torchvision"}


def test_the_reader_of_imports_sees_every_way_to_import(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "explorers").mkdir()
    path = tmp_path / "explorers" / "odd.py"
    path.write_text(
        "import torch.nn as nn, deepinside_edu.saliency\nfrom numpy.typing import NDArray\nfrom .. import figures\n"
        "from ..images import Box\nfrom . import scores\nfrom .taylor import x\nfrom deepinside_edu import seeds\n"
        "def f():\n    from deepinside_edu.localise import box_iou\n"
    )
    path.write_text(
        path.read_text() + "if TYPE_CHECKING:\n    from matplotlib.figure import Figure\nelse:\n    import maxflow\n"
    )
    assert "matplotlib" in set(imports(path)) - set(imports(path, at_run_time=True))
    assert "maxflow" in set(imports(path, at_run_time=True))
    assert sorted(set(imports(path)) - {"matplotlib", "maxflow"}) == [
        ".explorers", ".figures", ".images", ".localise", ".saliency", ".seeds", "numpy", "torch",
    ]  # fmt: skip
