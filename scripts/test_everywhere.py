"""Run the numerical tests and every lesson as other processors would, and report what differs.

    python scripts/test_everywhere.py                  every variant that this machine has
    python scripts/test_everywhere.py --minutes 25     no variant begins after 25 minutes; those left out are named
    python scripts/test_everywhere.py --list           only list what would run
    python scripts/test_everywhere.py --only disturbed the variants with this word in their names

Libraries choose their kernels by the processor that they find, and kernels round differently. The variables below make
them choose as they would elsewhere. A variant is skipped if its arithmetic gives the same bits as an earlier one's.
In the disturbed variants every saliency map that a lesson computes has noise on a few of its pixels, and the zero image
that a class model starts from has noise everywhere. This stands for processors that we do not have.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

LIBRARIES = {
    "MKL_CBWR": ("COMPATIBLE", "SSE4_2", "AVX", "AVX2", "AVX512"),  # PyTorch's matrix products
    "ONEDNN_MAX_CPU_ISA": ("SSE41", "AVX", "AVX2", "AVX512_CORE"),  # its convolutions
    "ATEN_CPU_CAPABILITY": ("default", "avx2", "avx512"),  # its loops
    "OPENBLAS_CORETYPE": ("Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX"),  # NumPy's matrix products
}

NEEDS = {  # the flag that a processor must report before a library may use it
    "SSE4_2": "sse4_2", "SSE41": "sse4_1", "AVX": "avx", "AVX2": "avx2", "avx2": "avx2", "AVX512": "avx512f",
    "AVX512_CORE": "avx512bw", "avx512": "avx512f", "Nehalem": "sse4_2", "Sandybridge": "avx", "Haswell": "avx2",
    "Zen": "avx2", "SkylakeX": "avx512bw",
}  # fmt: skip

NUMERICAL = (
    "ascent", "backward_by_hand", "class_model", "classifier", "colour_models", "deconvnet", "evaluation_ablations",
    "evaluation_composites", "evaluation_deletion", "evaluation_localisation_error", "evaluation_maps",
    "evaluation_measures", "evaluation_pointing", "evaluation_precision", "evaluation_sanity", "figures", "graph_cut",
    "localise", "recording", "rule_coverage", "saliency", "seeds", "squeezenet", "top_photos",
)  # fmt: skip

ARITHMETIC = """
import hashlib, numpy as np, torch, deepinside_edu as di
classifier, photo = di.load_classifier(device="cpu"), di.photo("hens")
bits = hashlib.sha256(classifier.scores(classifier.prepare(photo)).numpy().tobytes())
for crops in (1, 10):
    bits.update(di.saliency_map(classifier, photo, 8, crops).tobytes())
random = np.random.default_rng(0).normal(size=(300, 300))
bits.update((random @ random).tobytes() + np.linalg.inv(random).tobytes() + np.exp(random).tobytes())
print(bits.hexdigest())
"""

DISTURBED = """
# A hundredth of a per cent of a map's pixels are larger or smaller by a thousandth.
import os
import numpy as np
from deepinside_edu import saliency
random, exact = np.random.default_rng(int(os.environ["DISTURBED"])), saliency._to_array
def disturbed(values):
    array = exact(values).copy()
    pixels = random.choice(array.size, max(1, array.size // 10_000), replace=False)
    array.flat[pixels] *= 1 + 1e-3 * random.choice((-1, 1), len(pixels))
    return array
saliency._to_array = disturbed

# In a flat image all values of a pooling window are equal, so rounding chooses one. A millionth chooses others.
import torch
exact_zeros = torch.zeros
def nearly_zeros(*size, **options):
    zeros = exact_zeros(*size, **options)
    is_image = zeros.ndim == 4 and zeros.shape[1:] == (3, 224, 224)
    few = torch.Generator().manual_seed(int(os.environ["DISTURBED"]))  # the same in each call: runs are compared
    return zeros + 1e-6 * torch.randn(zeros.shape, generator=few) if is_image else zeros
torch.zeros = nearly_zeros
"""


class Variant(NamedTuple):
    """What to set in the environment, and whether to run the tests there."""

    settings: dict[str, str]
    tests: bool = True

    def __str__(self) -> str:
        """Write it as one would type it."""
        return " ".join(f"{name}={value}" for name, value in self.settings.items()) or "as it comes"


def variants(processor: str) -> list[Variant]:
    """List all that this processor can do, the most different ones first."""
    offered = [
        Variant({name: value})
        for name, values in LIBRARIES.items()
        for value in values
        if NEEDS.get(value, "") in processor.split() or value in ("COMPATIBLE", "default")
    ]
    everything_old = {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
    return [
        Variant({"OMP_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE"}),
        Variant({"DISTURBED": "1"}, tests=False),
        Variant({"OMP_NUM_THREADS": "4"}),
        Variant({"OMP_NUM_THREADS": "2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
        Variant({"OMP_NUM_THREADS": "1"}),
        Variant({"DISTURBED": "2"}, tests=False),
        Variant({"OMP_NUM_THREADS": "2"}),
        Variant({"OMP_NUM_THREADS": "1", **everything_old}),
        *offered,
        Variant({"DISTURBED": "3", "OMP_NUM_THREADS": "1"}, tests=False),
        Variant({}),
    ]


def main() -> int:
    """Run all variants in turn, even if some fail, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no variant after this many minutes")
    parser.add_argument("--only", default="", help="the variants with this word in their names")
    parser.add_argument("--list", action="store_true", help="only list what would run")
    arguments = parser.parse_args()
    start, seen, failed = time.monotonic(), {}, []
    for variant in variants(flags()):
        if arguments.only.casefold() not in str(variant).casefold():
            continue
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | variant.settings | {"IPYTHONDIR": folder, "OMP_WAIT_POLICY": "PASSIVE"}
            bits = arithmetic(environment)
            if not bits:
                print(f"{variant}: nothing runs with it here, so it is skipped", flush=True)
                continue
            same = bits, *(variant.settings.get(name) for name in ("OMP_NUM_THREADS", "DISTURBED"))
            if same in seen:
                print(f"{variant}: the same bits as {seen[same]}", flush=True)
                continue
            seen[same] = variant
            minutes = (time.monotonic() - start) / 60
            if arguments.list or minutes > arguments.minutes:
                print(f"{variant}: {'would run' if arguments.list else f'LEFT OUT after {minutes:.0f} minutes'}")
                continue
            if "DISTURBED" in variant.settings:
                startup = Path(folder) / "profile_default" / "startup"
                startup.mkdir(parents=True)
                (startup / "disturbed.py").write_text(DISTURBED)
            print(f"{variant}: …", flush=True)
            results = [run(command, environment) for command in commands(variant)]
        print(f"{variant}: {'green' if not any(results) else 'RED'}", flush=True)
        failed += [str(variant)] * any(results)
    print(f"test-everywhere: {len(failed)} of {len(seen)} variants failed", *failed, sep="\n    ")
    return bool(failed) or not seen


def commands(variant: Variant) -> list[list[str]]:
    """Return the commands for tests and lessons; both are run even if the first fails."""
    pytest = [sys.executable, "-m", "pytest", "-q", "--numprocesses", "auto", "--maxprocesses", "2", "--dist"]
    tests = [*pytest, "worksteal", *(f"tests/test_{name}.py" for name in NUMERICAL)]
    lessons = [*pytest, "loadfile", "--nbval", "--nbval-current-env", "notebooks"]
    return [tests, lessons] if variant.tests else [lessons]


def run(command: list[str], environment: dict[str, str]) -> int:
    """Run one command and show its output."""
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def arithmetic(environment: dict[str, str]) -> str:
    """Return a hash of scores, maps and matrix products in this environment; "" if a library refuses it."""
    script = [sys.executable, "-c", ARITHMETIC]
    done = subprocess.run(script, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    return "" if done.returncode else done.stdout.strip()


def flags() -> str:
    """Return the flags that the processor reports; "" if it cannot be asked."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line for line in lines if line.startswith("flags")), "")


if __name__ == "__main__":
    sys.exit(main())
