"""The explorers' browser half: modules that a page could load, and the one text that anywidget takes of them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright._impl._driver import compute_driver_executable

import deepinside_edu as di
from deepinside_edu import figures
from deepinside_edu.backward_by_hand import RULES
from deepinside_edu.deconvnet import _differ
from deepinside_edu.explorers.joined import FRONT, browser_half, joined
from deepinside_edu.explorers.localisation import _add_discs
from deepinside_edu.explorers.widget import share

VIEWS = sorted(file.stem for file in (FRONT / "views").glob("*.js"))
MODULES = sorted(FRONT.rglob("*.js"))
NODE = compute_driver_executable()[0]
"""Playwright has its own Node.js, so every machine has one."""
OXLINT = shutil.which("oxlint", path=str(Path(sys.executable).parent))


def node(*arguments, **options):
    return subprocess.run([NODE, *arguments], capture_output=True, text=True, timeout=60, **options)


def in_the_browser(name, expression, **data):
    """What an expression of the pure part `name`, as `part`, gives for data."""
    read = "const data = JSON.parse(require('fs').readFileSync(0));"
    load = f"import({json.dumps((FRONT / 'pure' / f'{name}.js').as_uri())}).then"
    done = node("--eval", f"{read}{load}((part) => console.log(JSON.stringify({expression})))", input=json.dumps(data))
    assert done.stderr == ""
    return json.loads(done.stdout)


def complaint(script, folder):
    """What a JavaScript parser says about a module; nothing if it can be read."""
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


@pytest.mark.skipif(not OXLINT, reason="oxlint is not installed; pip install -c constraints.txt -e '.[dev]'")
@pytest.mark.parametrize("name", VIEWS)
def test_every_name_in_the_joined_text_is_known(name, tmp_path):
    options = {"env": {"browser": True, "es2024": True}, "rules": {"no-undef": "error"}}
    (tmp_path / ".oxlintrc.json").write_text(json.dumps(options))
    script, _ = browser_half(name)
    found = []
    for each in (script, script.replace("const clamp", "const cramp")):
        (tmp_path / "view.js").write_text(each, encoding="utf-8")
        said = subprocess.run([OXLINT, "view.js"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        found.append((said.returncode, "'clamp' is not defined" in said.stdout))
    assert found == [(0, False), (1, True)]


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


def test_the_words_are_those_of_the_language(tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    for language, word in (("en", "photo"), ("fr", "image")):
        (tmp_path / "texts" / f"{language}.js").write_text(f'export const texts = "{word}";\n')
    (tmp_path / "view.js").write_text('import { texts } from "./texts/en.js";\n\nexport default texts;\n')
    assert '"photo"' in joined(tmp_path / "view.js")
    monkeypatch.setattr("deepinside_edu.explorers.joined.LANGUAGE", "fr")
    assert joined(tmp_path / "view.js") == 'const texts = "image";\n\n\nexport default texts;\n'


def test_no_line_is_longer_than_120_columns():
    files = [file for kind in ("*.js", "*.css") for file in FRONT.rglob(kind)] + list(PURE.parent.glob("*.mjs"))
    lines = [(file.name, line) for file in files for line in file.read_text("utf-8").splitlines()]
    assert len(lines) > 2000
    assert [place for place in lines if len(place[1]) > 120] == []


# --- the parts that need no page -------------------------------------------------------------------------------------

PURE = Path(__file__).parent / "front" / "pure.test.mjs"


def test_by_hand():
    done = node("--test", "--test-reporter=tap", PURE)
    assert done.returncode == 0, done.stdout
    assert "\n# fail 0\n" in done.stdout
    assert re.search(r"\n# pass [1-9]\d\n", done.stdout)


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def photo(random):
    """Every grey level, and colours of all kinds."""
    colours = random.integers(0, 256, (40, 256, 3), np.uint8)
    colours[0] = np.arange(256)[:, None]
    return Image.fromarray(colours)


def test_a_heat_map_is_coloured_as_in_python(random):
    m = random.gamma(1, 1, (50, 40)).astype(np.float32)
    table = np.asarray(figures.heat_map(np.arange(256)[None], peak=1.0))[0]
    given = {"m": m.ravel().tolist(), "peak": float(m.max())}
    levels = in_the_browser("colours", "[...part.heatLevels(data.m, data.peak)]", **given)
    np.testing.assert_array_equal(table[levels].reshape(50, 40, 3), np.asarray(figures.heat_map(m, peak=1.0)))


def test_values_of_both_signs_are_coloured_as_in_python(random):
    r = random.normal(size=(50, 40)).astype(np.float32)
    table = np.asarray(figures.signed_picture(np.linspace(-1, 1, 255)[None]))[0]
    given = {"r": r.ravel().tolist(), "peak": float(np.abs(r).max())}
    levels = in_the_browser("colours", "data.r.map((v) => part.signedLevel(v, data.peak))", **given)
    np.testing.assert_array_equal(table[levels].reshape(50, 40, 3), np.asarray(figures.signed_picture(r)))


def test_grey_is_pillow_s(photo):
    grey = in_the_browser("colours", "[...part.greyLevels(data.rgb)]", rgb=np.asarray(photo).ravel().tolist())
    np.testing.assert_array_equal(np.reshape(grey, (40, 256)), np.asarray(photo.convert("L")))


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.8, 0.85, 1])
def test_blending_is_pillow_s(photo, part):
    grey = photo.convert("L").convert("RGB")
    colour = Image.new("RGB", grey.size, (225, 55, 45))
    blended = np.asarray(Image.blend(grey, colour, part))
    table = in_the_browser("colours", "[...part.tinted([225, 55, 45], data.share)]", share=part)
    np.testing.assert_array_equal(np.reshape(table, (256, 3))[np.asarray(grey)[..., 0]], blended)
    pairs = np.asarray(photo).reshape(-1, 3)[:, :2]
    wanted = Image.blend(*(Image.fromarray(np.ascontiguousarray(pairs[:, c])[None]) for c in (0, 1)), part)
    expression = "data.pairs.map(([a, b]) => part.blend(a, b, data.share))"
    found = in_the_browser("colours", expression, pairs=pairs.tolist(), share=part)
    np.testing.assert_array_equal(found, np.asarray(wanted)[0])


def test_contrast_is_stretched_as_in_python(random):
    faint = Image.fromarray(random.normal((120, 140, 90), 9, (60, 50, 3)).astype(np.uint8))
    rgb = np.asarray(faint).ravel().tolist()
    found = np.reshape(in_the_browser("stretch", "[...part.stretch(data.rgb)]", rgb=rgb), (60, 50, 3))
    wanted = np.asarray(figures.stretch_contrast(faint)).astype(int)
    assert np.abs(found - wanted).max() <= 1  # halves are rounded up here, to even there
    assert np.abs(found - wanted).mean() < 0.01
    assert np.ptp(found) > 200


@pytest.mark.parametrize("size", [1, 2, 3, 9, 40])
def test_strokes_cover_the_kernel_s_pixels(random, size):
    wanted = random.integers(-1, 2, (30, 44)).astype(np.int8)
    before, discs = wanted.ravel().tolist(), random.integers(-9, 50, (6, 2)).tolist()
    _add_discs(wanted, discs, size, -1)
    stroke = {"discs": discs, "size": size, "side": -1}
    expression = "[...part.rasterise(Int8Array.from(data.before), [44, 30], data.stroke)]"
    found = in_the_browser("strokes", expression, before=before, stroke=stroke)
    np.testing.assert_array_equal(np.reshape(found, (30, 44)), wanted)


def test_numbers_are_written_as_in_python(random):
    values = [*(10 ** random.uniform(-4, 2.9, 200)), 0.5, 1, 100, 999]
    written = in_the_browser("numbers", "data.values.map((v) => part.number(v))", values=values)
    assert written == [f"{value:.3g}" for value in values]
    chances = [*random.uniform(0, 1, 50), 0, 0.0004, 0.0006, 0.9994, 0.9996, 1]
    assert in_the_browser("numbers", "data.p.map((p) => part.share(p))", p=chances) == [share(p) for p in chances]


def test_classes_stand_in_numpy_s_order(random):
    scores = random.integers(0, 30, 100) / 4
    wanted = np.argsort(-scores, kind="stable").tolist()
    assert in_the_browser("ranks", "part.bestFirst(data.scores)", scores=scores.tolist()) == wanted


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("ceiling", [None, 6.0])
def test_what_a_relu_lets_through_is_python_s(rule, ceiling):
    x, r = torch.cartesian_prod(torch.tensor([-2.0, 0, 1, 6, 7]), torch.tensor([-1.0, 0, 3])).unbind(1)
    passed = di.relu_backward(x, r, rule, ceiling or float("inf"))
    expression = "data.x.map((x, i) => part.fate(data.rule, x, data.r[i], data.ceiling) === 'passes')"
    found = in_the_browser("relu", expression, x=x.tolist(), r=r.tolist(), rule=rule, ceiling=ceiling)
    assert found == (passed != 0).tolist()


def test_what_differs_is_python_s(random):
    one = torch.from_numpy(random.normal(size=400))
    two = one * (1 + torch.from_numpy(10 ** random.uniform(-7, -3, 400)))
    found = in_the_browser("relu", "[...part.differing(data.one, data.two)]", one=one.tolist(), two=two.tolist())
    assert found == (3 * _differ(one, two).int()).tolist()
    assert 0 < np.mean(found) < 3


def test_full_colour_is_reached_near_the_quantile(random):
    values = np.r_[np.zeros(500), random.normal(size=4000)].astype(np.float32)
    wanted = float(np.quantile(np.abs(values[500:]), 0.97))
    found = in_the_browser("reach", "part.reach(data.values, 0.97)", values=values.tolist())
    assert found == pytest.approx(wanted, abs=2 * float(np.abs(values).max()) / 4096)
