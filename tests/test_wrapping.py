"""Every usable network is wrapped, torch's compiled forms too; for others, the error says what to do."""

import io
import re

import numpy as np
import pytest
import torch
from torch import nn

from deepinside_edu import (
    Classifier,
    backward_ladder,
    evaluation,
    explore,
    load_classifier,
    photo,
    record,
    saliency_map,
)
from deepinside_edu.wrapping import check_scale, each_channel, sides

LABELS = ("ape", "bee", "cat")


def network(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def wrap(made, **options):
    return Classifier(made, LABELS, size=(12, 12), **options)


X = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("thing", "said"), [
    ("resnet18", r"got str\. Load it: load_classifier\('resnet18'\)"),
    (nn.Sequential, "the class Sequential itself. Make one"),
    (lambda x: x, "got function.*forward of an nn.Module"), (network().state_dict(), "OrderedDict.*load_state_dict"),
    (wrap(network()), "got Classifier.*already"), (None, "got NoneType"),
])  # fmt: skip
def test_what_is_no_network_says_how_to_get_one(thing, said):
    with pytest.raises(TypeError, match=rf"expected a torch\.nn\.Module, .*{said}"):
        wrap(thing)


@pytest.mark.parametrize("made", [nn.Sequential(nn.LazyConv2d(3, 3)).eval(), network().to("meta")])
def test_weights_without_values_are_refused(made):
    with pytest.raises(ValueError, match=r"weight '0.weight' has no values yet\. Load the weights"):
        wrap(made)


# --- what torch has compiled -----------------------------------------------------------------------------------------


def reloaded(script):
    file = io.BytesIO()
    torch.jit.save(script, file)
    file.seek(0)
    return torch.jit.load(file)


PROGRAMS = {
    "scripted": lambda: torch.jit.script(network()),
    "traced": lambda: torch.jit.trace(network(), X),
    "saved": lambda: reloaded(torch.jit.script(network())),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(network())),
    "exported": lambda: torch.export.export(network(), (X,)).module(),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", PROGRAMS)
def test_a_program_has_scores_and_maps_and_says_that_it_has_no_layers(form):
    classifier = wrap(PROGRAMS[form]())
    torch.testing.assert_close(classifier.scores(X), network()(X).detach())
    for crops in (1, 10):  # in batches too, though an exported one takes single images alone
        np.testing.assert_allclose(
            saliency_map(classifier, X, 1, crops), saliency_map(wrap(network()), X, 1, crops), rtol=1e-4, atol=1e-9
        )
    for ask in (
        classifier.layers, lambda: record(classifier, X), lambda: backward_ladder(classifier, X, 1),
        lambda: evaluation.layer_names(classifier), lambda: explore.sanity(photo("hens"), classifier),
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"layers of this network cannot be seen.*Wrap the network as it was before"
        ):
            ask()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_part_that_is_a_program_is_named_where_layers_are_listed_and_a_recording_goes_past_it():
    classifier = wrap(nn.Sequential(nn.Conv2d(3, 3, 1), PROGRAMS["scripted"]()).eval())
    for ask in (classifier.layers, lambda: evaluation.layer_names(classifier)):
        with pytest.raises(ValueError, match=r"made one program of its part '1'.*Wrap the network as it was before"):
            ask()
    assert [layer.name for layer in record(classifier, X).layers] == ["image", "0", "scores"]


# --- channels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [2, 4, 6])
@pytest.mark.parametrize("given", [False, True])
def test_other_channels_than_a_pictures_take_prepared_tensors_alone(channels, given):
    options = {"mean": [0.5] * channels, "std": [0.25] * channels} if given else {}
    classifier = wrap(network(channels), **options)
    x = torch.randn(1, channels, 12, 12)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(channels)(leaf)[0, 1], leaf)
    np.testing.assert_allclose(saliency_map(classifier, x, 1), expected.abs().amax(1)[0].numpy(), rtol=1e-4, atol=1e-9)
    assert f"{channels} channels" in repr(classifier)
    with pytest.raises(ValueError, match=rf"picture has 1 or 3 channels.*takes {channels}\. Pass a prepared tensor"):
        classifier.top(photo("hens"))
    with pytest.raises(ValueError, match="picture has 1 or 3 channels"):
        classifier.picture(x)


# --- mean, std, size -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "std", "mended"), [
    ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    ([104.0, 117.0, 123.0], [1, 1, 1], ((0.4078, 0.4588, 0.4824), (0.003922,) * 3)),  # Caffe's
    ([127.5], [127.5], ((0.5,), (0.5,))), ([0, 0, 0], [255, 255, 255], ((0, 0, 0), (1, 1, 1))),
    ([0.485, 0.456, 0.406], [58.395, 57.12, 57.375], ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    ([123.675, 116.28, 103.53], [0.229, 0.224, 0.225], ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
])  # fmt: skip
def test_a_mean_of_levels_is_refused_with_the_values_that_are_right(mean, std, mended):
    with pytest.raises(ValueError, match=r"on the scale 0\.\.1, got") as caught:
        check_scale(tuple(mean), tuple(std))
    told = re.search(r"mean=(\(.*?\)), std=(\(.*?\))", str(caught.value))
    for found, expected in zip(told.groups(), mended, strict=True):
        assert [float(number) for number in found.strip("()").split(",") if number] == pytest.approx(expected, rel=1e-3)


def test_the_corrected_scale_gives_a_network_of_levels_what_it_was_trained_with():
    """Caffe's input is p − mean on 0..255: with mean / 255 and a std of 1 / 255 it is the same number."""
    mean = (104.0, 117.0, 123.0)
    classifier = wrap(network(), mean=[m / 255 for m in mean], std=[1 / 255] * 3)
    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    expected = picture.astype(float) - np.array(mean)
    assert np.abs(classifier.prepare(picture)[0].permute(1, 2, 0).numpy() - expected).max() < 1e-3


@pytest.mark.parametrize(("mean", "std", "said"), [
    ((-0.03, 0.0, 0.1), (0.45, 0.44, 0.44), r"below 0.*mean=\(0\.485, 0\.5, 0\.55\), std=\(0\.225, 0\.22, 0\.22\)"),
    ((0.5,), (0.0,), "above 0"), ((0.5,), (float("nan"),), "finite"), ((float("inf"),), (0.5,), "finite"),
    ((0.5,), (-1.0,), "above 0"), ((0.5, 0.5), (0.5,), "got 2 and 1"), ((), (), "got 0 and 0"),
])  # fmt: skip
def test_other_scales_are_refused(mean, std, said):
    with pytest.raises(ValueError, match=said):
        check_scale(mean, std)


@pytest.mark.parametrize("values", [0.5, "0.5", b"0.5", {"r": 0.5}, ["a"], torch.tensor(0.5), np.float64(0.5)])
def test_one_number_does_not_say_for_how_many_channels(values):
    with pytest.raises(TypeError, match=r"expected a mean for each channel, got .*\(0\.5, 0\.5, 0\.5\)"):
        each_channel("mean", values)


def test_channels_come_from_lists_arrays_and_tensors_of_any_shape():
    for values in ([0.1, 0.2], np.array([0.1, 0.2]), torch.tensor([0.1, 0.2]).view(1, 2, 1, 1)):
        assert each_channel("mean", values) == pytest.approx((0.1, 0.2))
    assert each_channel("mean", None) == each_channel("mean", ()) == ()


def test_sizes():
    assert sides([np.int64(5), 7]) == sides(torch.Size([5, 7])) == (5, 7)
    for size in (224, (5,), (5, 5, 5), "55", None):
        with pytest.raises(ValueError, match=r"expected a size \(H, W\) in pixels, got"):
            sides(size)
    for size in ((0, 5), (5.0, 5), (True, 5)):
        with pytest.raises((ValueError, TypeError), match="size"):
            sides(size)


def test_the_shipped_network_is_tried_and_runs_batches():
    assert load_classifier(device="cpu").one_at_a_time is False


@pytest.mark.parametrize("given", [{"mean": [0.5] * 3}, {"std": [0.5] * 3}])
def test_a_mean_without_a_std_asks_for_both(given):
    with pytest.raises(ValueError, match=r"got (3 and 0|0 and 3)\. Pass both\."):
        Classifier(nn.Sequential(nn.Conv2d(3, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), ["a", "b"], **given)
