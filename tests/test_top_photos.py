"""The photos that excite a channel most: the right ones, at the right place, with the patch that matters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from deepinside_edu import Classifier, load_classifier, photo, photos, top_photos
from deepinside_edu.deconvnet import Neuron


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier(device="cpu")


def feature_maps(network: nn.Module, layer: str, x: torch.Tensor) -> torch.Tensor:
    heard = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *call: heard.append(call[2].clone()))
    with torch.no_grad():
        network(x.clone())
    handle.remove()
    return heard[0]


def test_the_order_is_that_of_each_photos_largest_activity(classifier: Classifier) -> None:
    names = ["tabby", "panda", "espresso", "hens", "pig"]
    maps = {
        name: feature_maps(classifier.network, "features.6", classifier.prepare(photo(name)))[0, 7] for name in names
    }
    expected = sorted(names, key=lambda name: -float(maps[name].max()))[:3]
    found = top_photos(classifier, "features.6", 7, map(photo, names), k=3)
    assert [each.name for each in found] == expected
    for each in found:
        assert each.value == float(maps[each.name].max())
        assert each.neuron == Neuron("features.6", 7, tuple(divmod(int(maps[each.name].argmax()), 27)))
        assert each.picture.size == (224, 224)
        assert each.patch.tobytes() == each.picture.crop(each.box).tobytes()


@pytest.mark.slow
def test_without_photos_it_takes_all_that_ship_with_the_package(classifier: Classifier) -> None:
    found = top_photos(classifier, "classifier.3", 388, k=99)
    assert sorted(each.name for each in found) == [each.name for each in photos()]
    assert found[0].name == "panda"
    assert [each.value for each in found] == sorted((each.value for each in found), reverse=True)


def two_layers(sign: int) -> Classifier:
    """Kernels without a 0, so that a unit depends on each pixel of its 5×5 field inside the border."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(243, 4)
    )
    with torch.no_grad():
        for i, weights in enumerate(network.parameters()):
            weights.copy_(torch.linspace(0.1, 1, weights.numel()).reshape(weights.shape) + i)
        network[0].weight *= sign
    return Classifier(network.double().eval(), list("abcd"), (), (9, 9), (0.0 if sign > 0 else 1.0,), (1.0,))


@settings(max_examples=25)
@given(st.integers(0, 8), st.integers(0, 8), st.sampled_from([1, -1]))
def test_the_box_is_what_the_unit_can_see(row: int, column: int, sign: int) -> None:
    """A single bright pixel, or a dark one where the gradient is below 0, makes a unit near it the largest."""
    levels = np.full((9, 9), 0 if sign > 0 else 255, np.uint8)
    levels[row, column] = 255 - levels[row, column]
    (found,) = top_photos(two_layers(sign), "1", 1, [levels])
    at = found.neuron.position
    assert isinstance(at, tuple)
    left, top, right, bottom = found.box
    assert (left, top) == (max(at[1] - 2, 0), max(at[0] - 2, 0))
    assert (right, bottom) == (min(at[1] + 3, 9), min(at[0] + 3, 9))
    assert left <= column < right
    assert top <= row < bottom


def test_of_the_real_network_no_pixel_outside_the_box_matters(classifier: Classifier) -> None:
    (found,) = top_photos(classifier, "features.4", 5, [photo("espresso")])
    left, top, right, bottom = found.box
    x = classifier.prepare(photo("espresso"))
    outside = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    outside[..., top:bottom, left:right] = x[..., top:bottom, left:right]
    at = found.neuron.position
    assert isinstance(at, tuple)
    changed = feature_maps(classifier.network, "features.4", outside)[0, 5][at]
    assert float(changed) == pytest.approx(found.value, rel=1e-5)
    assert (right - left, bottom - top) == (15, 15)  # 3×3 by 2, pool 3×3 by 2, and two times 3×3: 3 + 4 + 8


def test_a_unit_that_nothing_excites_has_the_whole_picture(classifier: Classifier) -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()
    with torch.no_grad():
        network[0].bias.fill_(-100)
    (found,) = top_photos(Classifier(network, ("a", "b"), (), (4, 4)), "1", 0, [np.zeros((4, 4, 3), np.uint8)])
    assert (found.value, found.box) == (0, (0, 0, 4, 4))


def test_a_folder_is_read_and_a_broken_file_left_out_with_a_warning(classifier: Classifier, tmp_path) -> None:
    for name, level in (("dark.png", 10), ("light.JPG", 250)):
        Image.new("RGB", (40, 40), (level,) * 3).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.warns(UserWarning, match=r"broken\.png is left out"):
        found = top_photos(classifier, "features.0", 3, tmp_path)
    assert {each.name for each in found} == {"dark.png", "light.JPG"}
    (tmp_path / "dark.png").unlink()
    (tmp_path / "light.JPG").unlink()
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match="no photo could be read in"):
        top_photos(classifier, "features.0", 3, str(tmp_path))
    with pytest.raises(FileNotFoundError):
        top_photos(classifier, "features.0", 3, tmp_path / "nowhere")


def test_what_does_not_fit_is_told(classifier: Classifier) -> None:
    with pytest.raises(ValueError, match=r"no layer is called 'featurs\.4'.* Did you mean 'features\.4'"):
        top_photos(classifier, "featurs.4", 0)
    with pytest.raises(ValueError, match=r"channel 64 is out of range; 'features\.0' has channels 0 to 63"):
        top_photos(classifier, "features.0", 64)
    with pytest.raises(ValueError, match="k of at least 1, got 0"):
        top_photos(classifier, "features.0", 0, k=0)
    with pytest.raises(ValueError, match="there is no photo in the list"):
        top_photos(classifier, "features.0", 0, [])
    for k in ("3", 2.5, True):
        with pytest.raises(ValueError, match="whole number k of at least 1"):
            top_photos(classifier, "features.0", 0, k=k)  # type: ignore[arg-type]
    one = photo("pig")
    for single in (one, one.image, one.path, str(one.path)):
        assert len(top_photos(classifier, "features.0", 0, single)) == 1
    with pytest.raises(ValueError, match="picture"):
        top_photos(classifier, "features.0", 0, [b"no picture"])


def test_progress_sees_each_photo(classifier: Classifier) -> None:
    seen = []
    top_photos(
        classifier,
        "features.0",
        0,
        [photo("tabby"), photo("pig")],
        progress=lambda entries: (seen.append(entry) or entry for entry in entries),
    )
    assert len(seen) == 2
