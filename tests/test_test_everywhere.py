"""`make test-everywhere` varies what it should, and what it disturbs is disturbed."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "test_everywhere.py"), run_name="script")


def test_the_tests_that_it_names_are_there():
    assert not [name for name in SCRIPT["NUMERICAL"] if not (ROOT / "tests" / f"test_{name}.py").exists()]


def test_a_library_is_only_told_to_use_what_the_processor_has():
    old, new = (
        set(map(str, SCRIPT["variants"](flags))) for flags in ("flags: fpu sse4_2", "flags: sse4_2 avx avx2 avx512f")
    )
    assert {"MKL_CBWR=SSE4_2", "MKL_CBWR=COMPATIBLE", "OMP_NUM_THREADS=4", "DISTURBED=1"} <= old
    assert not [name for name in old if name in ("MKL_CBWR=AVX2", "MKL_CBWR=AVX512", "OPENBLAS_CORETYPE=Haswell")]
    assert {"MKL_CBWR=AVX2", "MKL_CBWR=AVX512", "OPENBLAS_CORETYPE=Haswell"} <= new - old


def test_every_kind_of_arithmetic_that_is_asked_for_is_varied():
    varied = {name for variant in SCRIPT["variants"]("sse4_2 avx2") for name in variant.settings}
    assert varied == {"OMP_NUM_THREADS", "DISTURBED", *SCRIPT["LIBRARIES"]}
    threads = {variant.settings.get("OMP_NUM_THREADS") for variant in SCRIPT["variants"]("")}
    assert threads == {"1", "2", "4", None}


@pytest.mark.slow
def test_a_disturbed_map_differs_in_a_hundredth_of_a_per_cent_of_its_pixels_by_a_thousandth_and_zero_by_a_millionth():
    script = (
        SCRIPT["DISTURBED"]
        + """
import torch
plain = np.random.default_rng(5).random((2, 224, 224)).astype("float32")
found = saliency._to_array(torch.from_numpy(plain))
changed = found != plain
print(changed.sum(), abs(found[changed] / plain[changed] - 1).round(6).max())
x, other = torch.zeros(1, 3, 224, 224), torch.zeros((1, 3, 8, 8))
print(0 < x.abs().max() < 1e-5, bool((other == 0).all()))
"""
    )
    environment = {"DISTURBED": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10", "0.001", "tensor(True)", "True"]
