"""torchvision is imported even if its wheel does not fit torch, and the message helps if it cannot be."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import deepinside_edu
from deepinside_edu.torchvision_import import import_torchvision

# Like the one whose wheel was built for CUDA: its compiled operators were not registered.
BUILT_FOR_CUDA = """
import torch
import torchvision.models

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets
"""

PROGRAM = """
import sys, torch
from deepinside_edu.torchvision_import import import_torchvision

fitting, built_for_cuda = sys.argv[1:]

sys.path.insert(0, fitting)
import_torchvision()
print("declared:", hasattr(torch.ops.torchvision, "nms"))

sys.path[0] = built_for_cuda
del sys.modules["torchvision"]
try:
    import torchvision
except RuntimeError as error:
    print(error)
torchvision = import_torchvision()
assert torchvision is sys.modules["torchvision"] is import_torchvision()
print("models:", torchvision.models.here)  # a half-imported package would have lost its attribute
try:
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except NotImplementedError:
    print("the operator itself fails cleanly")
"""


def test_the_installed_torchvision_works():
    torchvision = import_torchvision()
    assert torchvision is import_torchvision() is sys.modules["torchvision"]
    network = torchvision.models.get_model("squeezenet1_0", weights=None).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.slow
def test_a_wheel_that_was_built_for_cuda_is_imported_all_the_same(tmp_path):
    for folder, source in (("fitting", ""), ("built_for_cuda", BUILT_FOR_CUDA)):
        package = tmp_path / folder / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        (package / "models.py").write_text("here = True")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "fitting", tmp_path / "built_for_cuda"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(Path(deepinside_edu.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "declared: False",  # nothing is, because nothing is missing
        "operator torchvision::nms does not exist",
        "models: True",
        "the operator itself fails cleanly",
    ]


@pytest.fixture
def import_that_raises(monkeypatch):
    def arrange(error):
        def import_module(name):
            raise error

        monkeypatch.setattr(importlib, "import_module", import_module)

    return arrange


@pytest.mark.parametrize("error", [ImportError("libcudart.so.12 is gone"), ModuleNotFoundError("No module named …")])
def test_a_missing_or_broken_torchvision_says_what_to_install(error, import_that_raises):
    import_that_raises(error)
    with pytest.raises(ImportError, match=r"release that fits torch \d.*load_classifier\(.squeezenet1_1.\)"):
        import_torchvision()


def test_any_other_error_is_left_alone(import_that_raises):
    import_that_raises(RuntimeError("out of luck"))
    with pytest.raises(RuntimeError, match=r"^out of luck$"):
        import_torchvision()
