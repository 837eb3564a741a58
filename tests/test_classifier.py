"""A classifier gives a network's own scores, finds classes by any of their names, and leaves the network as it was."""

import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from no_trace import no_trace
from PIL import Image
from torch import nn
from torch.utils.checkpoint import checkpoint

import deepinside_edu as di
from deepinside_edu import Classifier
from deepinside_edu.classifier import Layer
from deepinside_edu.saliency import forward_pass, linearise_classes, saliency_maps_of_batch

LABELS = ("tench", "tabby cat", "Tabby", "cardigan", "cat", "12")
IDS = tuple(f"n0{c}" for c in range(6))


class Head(nn.Module):
    """Gives the mean of each channel, or any other output that the test wants."""

    def __init__(self, make=lambda scores: scores):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x.mean((2, 3)))


def small(*layers, channels=3, classes=6, make=lambda scores: scores, **options):
    torch.manual_seed(0)
    network = nn.Sequential(*layers, nn.Conv2d(channels, classes, 2), Head(make)).eval()
    usual = {"labels": LABELS[:classes], "size": (5, 7), "mean": (0.5,) * channels, "std": (0.25,) * channels}
    return Classifier(network, **usual | options)


def picture(height=9, width=8):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


# --- scores ----------------------------------------------------------------------------------------------------------


def test_scores_are_what_the_network_gives():
    mine = small()
    batch = torch.randn(4, 3, 5, 7)
    with torch.no_grad():
        assert torch.equal(mine.scores(batch), mine.network(batch))


def test_gradients_flow_to_a_batch_that_asks_for_them_and_only_then():
    mine = small()
    assert all(p.requires_grad for p in mine.network.parameters())
    assert not mine.scores(torch.zeros(1, 3, 5, 7)).requires_grad
    batch = torch.zeros(1, 3, 5, 7, requires_grad=True)
    mine.scores(batch)[0, 2].backward(inputs=[batch])
    kernel = mine.network[0].weight[2]
    assert batch.grad[0, :, 2, 3].tolist() == pytest.approx((kernel.sum((1, 2)) / 24).tolist())  # 24 = 4 × 6 places


@pytest.mark.parametrize("asks", [False, True])
def test_scores_leave_no_trace(classifier, asks):
    batch = classifier.prepare(picture()).requires_grad_(asks)
    with no_trace(classifier.network, batch):
        classifier.scores(batch)


def test_a_first_layer_that_works_in_place_does_not_write_into_the_callers_tensor():
    mine = small(nn.ReLU(inplace=True))
    batch = torch.randn(1, 3, 5, 7)
    with no_trace(mine.network, batch):
        mine.scores(batch)
        mine.top(batch)
        mine.scores(batch.clone().requires_grad_())


def test_nothing_is_left_after_an_error():
    def fail(scores):
        if scores.shape[0] == 2:
            raise RuntimeError("the network broke down")
        return scores

    mine = small(nn.ReLU(inplace=True), make=fail)
    batch = torch.randn(2, 3, 5, 7, requires_grad=True)
    with pytest.raises(ValueError, match="the network broke down"), no_trace(mine.network, batch):
        mine.scores(batch)


def test_two_threads_may_use_one_classifier(classifier):
    batches = [torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(s)) for s in range(8)]
    expected = [classifier.scores(batch) for batch in batches]
    layers = small(nn.ReLU()).layers()
    shared = small(nn.ReLU())
    start = threading.Barrier(2)

    def work(offset):
        start.wait(10)
        for position in range(8):
            which = (position + offset) % 8
            assert torch.equal(classifier.scores(batches[which]), expected[which])
            assert shared.layers() == layers
        return True

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with no_trace(classifier.network, shared.network), ThreadPoolExecutor(2) as pool:
            assert all(pool.map(work, (0, 4)))
    finally:
        sys.setswitchinterval(interval)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "0"])
def test_training_mode_is_refused_and_its_layer_named(where):
    network = nn.Sequential(nn.Dropout(), nn.Conv2d(3, 6, 2), Head()).eval()
    mine = Classifier(network, LABELS, size=(5, 7))
    network.get_submodule(where).training = True
    named = f"training mode ({where or 'the network'})"
    for call in (
        lambda: mine.scores(torch.zeros(1, 3, 5, 7)), lambda: mine.top(picture()), mine.layers,
        lambda: Classifier(network, LABELS, size=(5, 7)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(named) + r".*network\.eval\(\)"), no_trace(network):
            call()


@pytest.mark.parametrize("labels", [LABELS[:5], (*LABELS, "one more"), ()])
def test_another_number_of_labels_is_refused(labels):
    with pytest.raises(ValueError, match=rf"6 scores but there are {len(labels)} labels.*one label for each score"):
        small(labels=labels)


def test_another_number_of_wordnet_ids_is_refused():
    with pytest.raises(ValueError, match="6 labels, 2 WordNet ids"):
        small(wordnet_ids=IDS[:2])


PROBABLE = {"softmax": nn.Softmax(1), "log-softmax": nn.LogSoftmax(1)}


@pytest.mark.parametrize("last", PROBABLE)
def test_a_network_that_ends_with_a_softmax_is_refused(last):
    with pytest.raises(ValueError, match=r"probabilities.*without its last softmax"):
        small(make=PROBABLE[last])
    with pytest.raises(ValueError, match=r"probabilities.*without its last softmax"):
        small(make=PROBABLE[last], classes=2)


def test_a_softmax_is_refused_where_it_could_not_be_tried_before():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 7, 6), nn.Softmax(1)).eval()
    mine = Classifier(network, LABELS)  # at 224×224 it cannot run
    with pytest.raises(ValueError, match="without its last softmax"):
        mine.scores(torch.zeros(3, 3, 5, 7))


def test_scores_that_add_up_to_one_by_chance_are_scores():
    """The scores of the small networks with round weights, whose answers are worked out on paper, often do."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1), Head()).eval()
    nn.init.ones_(network[0].weight)
    network[0].bias.data = torch.tensor([1.0, 0.0])
    mine = Classifier(network, ("yes", "no"), size=(2, 2))
    assert mine.scores(torch.zeros(1, 3, 2, 2)).tolist() == [[1, 0]]
    assert [layer.name for layer in mine.layers()] == ["0", "1"]
    assert Classifier(network, ("yes", "no"), size=(2, 2)).scores(torch.ones(1, 3, 2, 2)).tolist() == [[4, 3]]


@pytest.mark.parametrize(("make", "got"), [
    (lambda s: (s, s), "got tuple"), (lambda s: {"out": s}, "got dict"), (lambda s: s[0], "got (6,)"),
    (lambda s: s[:, :, None, None], "got (1, 6, 1, 1)"),
])  # fmt: skip
def test_a_network_that_gives_no_row_of_scores_is_refused(make, got):
    with pytest.raises(ValueError, match=r"expected scores \(N, 6\).*" + re.escape(got) + ".*Wrap it"):
        small(make=make)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_in_the_image_is_refused(bad):
    mine = small()
    batch = torch.zeros(1, 3, 5, 7)
    batch[0, 1, 2, 3] = bad
    for call in (mine.scores, mine.top, mine.prepare):
        with pytest.raises(ValueError, match="the image holds NaN or infinite"):
            call(batch)


def test_nan_in_the_weights_is_refused():
    mine = small()
    mine.network[0].weight.data[0] = float("nan")
    with pytest.raises(ValueError, match=r"scores are not finite.*weights"):
        mine.scores(torch.zeros(1, 3, 5, 7))


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 5, 7), (1, 4, 5, 7), (0, 3, 5, 7), (1, 3, 0, 7), (1, 5, 7, 3)])
def test_a_batch_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=rf"expected a batch \(N, 3, H, W\), got {re.escape(str(shape))}"):
        small().scores(torch.zeros(shape))


def test_a_batch_that_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match=r"got ndarray. Use classifier\.prepare"):
        small().scores(np.zeros((1, 3, 5, 7), np.float32))


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8])
def test_a_batch_of_another_precision_is_refused(dtype):
    with pytest.raises(ValueError, match=f"expected a batch of torch.float32 on cpu.*{dtype}"):
        small().scores(torch.ones(1, 3, 5, 7, dtype=dtype))


@pytest.mark.parametrize(("levels", "remedy"), [
    (torch.ones(1, 3, 5, 7, dtype=torch.uint8), "x[0].permute(1, 2, 0).numpy()"),
    (torch.ones(3, 5, 7, dtype=torch.uint8), "x.permute(1, 2, 0).numpy()"),
    (torch.ones(5, 7, 3, dtype=torch.uint8), "x.numpy()"), (torch.ones(1, 5, 7, 3, dtype=torch.int64), "x[0].numpy()"),
    (torch.ones(5, 7, dtype=torch.bool), "x.numpy()"),
])  # fmt: skip
def test_integers_are_not_taken_for_a_prepared_image(levels, remedy):
    with pytest.raises(ValueError, match=r"floats in normalised space, got torch\..*" + re.escape(f"here: {remedy}.")):
        small().prepare(levels)


def test_what_is_advised_for_levels_works():
    mine, levels = small(), torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    expected = (levels / 255 - 0.5) / 0.25
    torch.testing.assert_close(mine.prepare(levels.permute(1, 2, 0).numpy())[0], expected)
    torch.testing.assert_close(mine.prepare(expected[None])[0], expected)


@pytest.mark.parametrize(("shape", "remedy"), [
    ((3, 5, 7), r"The batch axis is missing: pass x\[None\] if it is normalised"),
    ((2, 3, 5, 7), r"one at a time: x\[:1\]"), ((1, 5, 7, 3), r"channels come last: x\.permute\(0, 3, 1, 2\)"),
    ((5, 7), "Pass the picture itself"), ((1, 1, 3, 5, 7), "Pass the picture itself"),
])  # fmt: skip
def test_a_tensor_of_another_shape_says_what_is_missing(shape, remedy):
    for call in (small().prepare, small().top, lambda x: di.saliency_map(small(), x, 1)):
        with pytest.raises(ValueError, match=remedy):
            call(torch.zeros(shape))


# --- the same classifier and the same classes in every function ----------------------------------------------------


def every_function(first, second):
    return [
        lambda: di.saliency_map(first, second), lambda: di.saliency_maps(first, second, [1]),
        lambda: di.localise(first, second), lambda: di.localise_classes(first, second),
        lambda: di.linearise(first, second, 1), lambda: di.record(first, second),
        lambda: di.backward_ladder(first, second), lambda: di.top_photos(first, "0", 1),
        lambda: di.class_model(first, 1),
        lambda: linearise_classes(first, second, [1]), lambda: forward_pass(first, second),
        lambda: saliency_maps_of_batch(first, second, [[1]]), lambda: di.evaluation.compute_map(first, second),
        lambda: di.evaluation.deletion_curve(first, second, 1, None), lambda: di.evaluation.randomise_layers(first, 1),
        lambda: di.evaluation.insertion_curve(first, second, 1, None), lambda: di.evaluation.measure_maps(first, None),
        lambda: di.evaluation.sanity_check(first, second), lambda: di.evaluation.ablate(first, [second]),
        lambda: di.evaluation.localisation_error(first, None), lambda: di.explore.saliency(second, first),
        lambda: di.explore.class_model(second, first),
    ]  # fmt: skip


@pytest.mark.parametrize("thing", ["resnet18", nn.Identity(), Classifier, di.load_classifier, picture()], ids=type)
def test_every_function_refuses_what_is_no_classifier(thing):
    for call in every_function(thing, picture()):
        with pytest.raises(TypeError, match=r"expected a Classifier first, got .*load_classifier\("):
            call()


def test_what_comes_in_the_place_of_a_classifier_is_named():
    for thing, said in (
        ("resnet18", r"got the text 'resnet18'\. Load it first: load_classifier\('resnet18'\)"),
        (nn.Identity(), r"got Identity\. .*Classifier\(network, labels\)"),
        (nn.Identity, "got the class Identity itself"),
        (di.load_classifier, r"got the function load_classifier\. Call it first"), (picture(), "got Image"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=said):
            di.saliency_map(thing, picture())


def test_every_function_takes_a_class_in_the_same_forms():
    mine = small()
    x = mine.prepare(picture())
    expected = di.saliency_map(mine, x, 3)
    for c in (3, "3", "cardigan", np.int64(3), np.array(3), np.array([3]), torch.tensor(3), torch.tensor([[3]])):
        assert np.array_equal(di.saliency_map(mine, x, c), expected)
        assert len(di.saliency_maps(mine, x, c)) == 1
        assert np.array_equal(di.saliency_maps(mine, x, c)[0], expected)
        assert np.array_equal(saliency_maps_of_batch(mine, x, [c])[0][0], expected)
        assert torch.equal(di.linearise(mine, x, c).w, linearise_classes(mine, x, c)[0].w)
        assert di.backward_ladder(mine, x, c, "gradient").neuron == 3
        assert next(iter(di.class_model(mine, c))).class_index == 3
        assert np.array_equal(di.evaluation.compute_map(mine, x, c), expected)


@pytest.mark.parametrize("c", [True, 3.0, torch.tensor(3.0), b"3", np.array(True), {3}, [3], torch.tensor([3, 1])])
def test_every_function_refuses_what_is_no_class(c):
    mine = small()
    x = mine.prepare(picture())
    for call in (di.saliency_map, di.linearise, di.backward_ladder, di.evaluation.compute_map):
        with pytest.raises(TypeError, match="expected a class"):
            call(mine, x, c)


@pytest.mark.parametrize("several", [b"38", {3, 1}, np.zeros((2, 2), int), True, 3.0, [[3], [1]]])
def test_every_function_refuses_what_is_no_list_of_classes(several):
    mine = small()
    for call in (di.saliency_maps, di.localise_classes):
        with pytest.raises(TypeError, match=r"expected a (class|list of classes)"):
            call(mine, picture(), several)
    with pytest.raises(TypeError, match=r"expected a (class|list of classes)"):
        di.class_model(mine, several)


def test_one_text_is_no_class_for_each_of_two_images():
    x = torch.zeros(2, 3, 5, 7)
    with pytest.raises(TypeError, match="list of classes for each image, got one text"):
        saliency_maps_of_batch(small(), x, "31")


def test_an_image_that_the_network_cannot_take_is_refused(classifier):
    with pytest.raises(ValueError, match=r"cannot take a batch \(1, 3, 8, 8\).*too small.*size=…"):
        classifier.scores(classifier.prepare(picture(), (8, 8)))


def test_a_network_made_for_another_size_says_so_when_it_is_used():
    network = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 6)).eval()
    mine = Classifier(network, LABELS, mean=(0.5,), std=(0.5,))
    with pytest.raises(ValueError, match=r"cannot take a batch \(1, 1, 224, 224\).*size=…"):
        mine.top(picture())
    fitting = Classifier(network, LABELS, size=(28, 28), mean=(0.5,), std=(0.5,))
    assert len(fitting.top(picture())) == 5


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5,) * 3), ((0.5,), ())])
def test_mean_and_std_of_other_channels_are_refused(mean, std):
    with pytest.raises(ValueError, match=f"a mean and a std for each channel, got {len(mean)} and {len(std)}"):
        small(mean=mean, std=std)


def test_a_mean_for_other_channels_than_the_network_takes_is_refused():
    with pytest.raises(ValueError, match="first convolution takes 1 channels, but mean and std have 3"):
        small(channels=1, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module, got function"):
        Classifier(lambda x: x, LABELS)


def test_the_trial_run_leaves_no_trace():
    network = nn.Sequential(nn.Conv2d(3, 6, 2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), Head()).eval()
    with no_trace(network):
        Classifier(network, LABELS, size=(5, 7))
    with pytest.raises(ValueError, match="labels"), no_trace(network):
        Classifier(network, LABELS[:2], size=(5, 7))


# --- prepare, picture, top -------------------------------------------------------------------------------------------


def test_prepare_gives_the_networks_own_size_space_and_precision():
    mine = small()
    x = mine.prepare(picture())
    assert (x.shape, x.dtype) == ((1, 3, 5, 7), torch.float32)
    assert not x.requires_grad
    assert mine.prepare(picture(), (11, 13)).shape == (1, 3, 11, 13)
    resized = np.asarray(picture().resize((7, 5), Image.Resampling.BICUBIC))
    assert np.abs(x[0].permute(1, 2, 0).numpy() - (resized / 255 - 0.5) / 0.25).max() < 1e-6

    mine.network.double()
    assert mine.prepare(picture()).dtype == torch.float64
    assert mine.scores(mine.prepare(picture())).dtype == torch.float64


def test_a_prepared_image_passes_through():
    mine = small()
    x = torch.randn(1, 3, 6, 6, requires_grad=True)
    with no_trace(x):
        assert torch.equal(mine.prepare(x), x)
        assert not mine.prepare(x).requires_grad
    assert mine.prepare(x.detach().double()).dtype == torch.float32
    with pytest.raises(ValueError, match=r"one prepared image \(1, C, H, W\), got \(2, 3, 6, 6\)"):
        mine.prepare(torch.zeros(2, 3, 6, 6))


def test_picture_is_the_way_back():
    mine = small()
    same_size = picture(5, 7)
    assert np.array_equal(np.asarray(mine.picture(mine.prepare(same_size))), np.asarray(same_size))


def test_a_single_channel_network_sees_grey():
    network = nn.Sequential(nn.Conv2d(1, 6, 2), Head()).eval()
    mine = Classifier(network, LABELS, size=(5, 7))  # the first convolution says that it is grey
    assert len(mine.mean) == len(mine.std) == 1
    x = mine.prepare(picture(5, 7))
    assert x.shape == (1, 1, 5, 7)
    grey = np.asarray(picture(5, 7).convert("L"))
    assert np.array_equal(np.asarray(mine.picture(x)), np.dstack([grey] * 3))
    assert len(mine.top(picture())) == 5
    assert "5×7 grey" in repr(mine)


@given(hnp.arrays(np.float64, 6, elements=st.floats(-40, 40, width=16)), st.integers(1, 6))
def test_top_agrees_with_a_softmax_by_hand(scores, k):
    mine = small()
    mine.network.double()[-1].make = lambda _: torch.tensor(scores)[None] + 100  # a shift: no row of these adds up to 1
    best = mine.top(picture(), k)
    exponentials = [np.exp(s) for s in scores]
    assert len(best) == k
    assert len({p.class_index for p in best}) == k
    assert [p.score for p in best] == pytest.approx(sorted(scores + 100)[::-1][:k])
    for p in best:
        assert p.label == LABELS[p.class_index]
        assert p.score == pytest.approx(scores[p.class_index] + 100)
        assert p.probability == pytest.approx(exponentials[p.class_index] / sum(exponentials), rel=1e-9)


def test_top_does_not_overflow():
    mine = small()
    mine.network[-1].make = lambda _: torch.tensor([[1e4, 0, 0, 0, 0, -1e4]])
    assert [p.probability for p in mine.top(picture(), 2)] == [1, 0]


@pytest.mark.parametrize("k", [0, -1])
def test_top_of_none_is_refused(k):
    with pytest.raises(ValueError, match=f"expected k of 1 or more, a whole number, got {k}"):
        small().top(picture(), k)


@pytest.mark.parametrize("k", ["2", None, 2.5, True])
def test_top_of_no_whole_number_is_refused(k):
    with pytest.raises(TypeError, match="a whole number for k"):
        small().top(picture(), k)


@pytest.mark.parametrize("make", [lambda s: s.round().long(), lambda s: torch.fft.fft(s), lambda s: s > 0])
def test_scores_that_are_no_floats_are_refused(make):
    with pytest.raises(ValueError, match=r"scores of floats from the network, got torch\.(int64|complex64|bool)"):
        small(make=make)


@pytest.mark.parametrize(("x", "remedy"), [
    (torch.zeros(1, 3, 5, 7, device="meta"), "Make it on the CPU"),
    (torch.ones(1, 3, 5, 7).to_sparse(), r"x\.to_dense\(\)"),
])  # fmt: skip
def test_a_tensor_without_a_value_at_each_place_is_refused(x, remedy):
    mine = small()
    for call in (mine.prepare, mine.top, mine.scores, lambda x: di.saliency_map(mine, x, 1)):
        with pytest.raises(ValueError, match=remedy):
            call(x)


def test_top_of_more_than_there_are_is_all_of_them():
    assert sorted(row.class_index for row in small().top(picture(), 99)) == list(range(6))


def test_top_refuses_what_is_no_picture():
    with pytest.raises(ValueError, match="not a picture"):
        small().top(b"no picture")


# --- find ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "index"), [
    (3, 3), (np.int64(3), 3), (torch.tensor(3), 3), ("3", 3), (" 3 ", 3), (0, 0),
    ("n04", 4), ("N04", 4),
    ("tench", 0), ("TENCH", 0), ("tenc", 0), (" tench ", 0), ("gan", 3),
    ("cat", 4), ("tabby cat", 1),  # the whole name before a part of one
    ("Tabby", 2), ("tabby", 2), ("ABBY C", 1),
])  # fmt: skip
def test_find(text, index):
    assert small(wordnet_ids=IDS).find(text) == index


@given(st.sampled_from(range(1000)))
def test_every_class_is_found_by_index_wordnet_id_and_name(classifier, index):
    label = classifier.labels[index]
    assert classifier.find(index) == classifier.find(str(index)) == index
    assert classifier.find(classifier.wordnet_ids[index]) == index
    if sum(each.casefold() == label.casefold() for each in classifier.labels) == 1:
        assert classifier.find(label) == index


def test_a_name_that_fits_several_classes_lists_them():
    mine = small()
    with pytest.raises(ValueError, match=r"'abb' fits 2 classes: 'tabby cat' \(1\), 'Tabby' \(2\)\. Name one of them"):
        mine.find("abb")
    with pytest.raises(ValueError, match=r"'a' fits 4 classes"):
        mine.find("a")


def test_a_long_list_of_classes_is_cut_short(classifier):
    with pytest.raises(ValueError, match=r"'cat' fits \d+ classes: .*'Siamese cat' \(284\)") as caught:
        classifier.find("cat")
    assert "…" not in str(caught.value)
    with pytest.raises(ValueError, match=r"'an' fits \d\d+ classes: ('[^']+' \(\d+\), ){8}…\. Name"):
        classifier.find("an")


def test_one_name_of_two_classes_needs_an_index():
    with pytest.raises(ValueError, match=r"'crane' fits 2 classes: 'crane' \(0\), 'crane' \(1\)"):
        small(classes=2, labels=("crane", "crane")).find("crane")


def test_an_unknown_name_lists_near_ones(classifier):
    with pytest.raises(ValueError, match=r"no class is called 'ginat panda'\. Near: .*'giant panda' \(388\)"):
        classifier.find("ginat panda")
    with pytest.raises(ValueError, match=r"no class is called 'xqzw'\. Try a part of its name"):
        classifier.find("xqzw")
    with pytest.raises(ValueError, match="no class is called ''"):
        classifier.find("")


@pytest.mark.parametrize("index", [6, -1, "6", "-1", 10**30])
def test_an_index_out_of_range(index):
    with pytest.raises(ValueError, match=f"class index {index} is out of range; there are classes 0 to 5"):
        small().find(index)


@pytest.mark.parametrize("text", [None, 3.0, True, b"cat", ["cat"], np.bool_(True)])
def test_what_names_no_class(text):
    with pytest.raises(TypeError, match="expected a class index, a WordNet id or a name, got"):
        small().find(text)


# --- layers ----------------------------------------------------------------------------------------------------------


class Twice(nn.Module):
    """A network that is not registered in its running order; one layer runs twice and one never."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(4, 6, 2)
        self.relu = nn.ReLU()
        self.never = nn.Conv2d(4, 4, 1)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1))
        self.head = Head()
        self.fails = False

    def forward(self, x):
        x = self.relu(self.last(self.relu(self.body(x))))
        if self.fails:
            raise KeyError("in the middle")
        return self.head(x)


@pytest.fixture
def twice():
    return Classifier(Twice().eval(), LABELS, size=(5, 7))


def test_layers_are_listed_as_they_run(twice):
    with no_trace(twice.network):
        layers = twice.layers()
    assert layers == (
        Layer("body.0", "Conv2d", (4, 5, 7)), Layer("relu", "ReLU", (4, 5, 7)), Layer("last", "Conv2d", (6, 4, 6)),
        Layer("relu", "ReLU", (6, 4, 6)), Layer("head", "Head", (6,)),
    )  # fmt: skip


def test_no_hook_stays_after_an_exception(twice):
    twice.network.fails = True
    with pytest.raises(KeyError, match="in the middle"), no_trace(twice.network):
        twice.layers()


def test_the_layers_of_the_shipped_network(classifier):
    layers = classifier.layers()
    assert layers[0] == Layer("features.0", "Conv2d", (64, 111, 111))
    assert layers[-1] == Layer("classifier.3", "AdaptiveAvgPool2d", (1000, 1, 1))
    assert [layer.kind for layer in layers].count("Conv2d") == 26
    assert len(layers) == 26 + 26 + 3 + 2  # convolutions, a ReLU for each, poolings, dropout and the average


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"labels": 3}, TypeError),
        ({"labels": [1, 2, 3, 4, 5, 6]}, TypeError),
        ({"std": (0.0, 1.0, 1.0), "mean": (0.5, 0.5, 0.5)}, ValueError),
        ({"size": (0, 5)}, ValueError),
        ({"size": (5, 5, 5)}, ValueError),
    ],
)
def test_what_describes_no_network_is_refused(wrong, kind):
    with pytest.raises(kind, match="expected"):
        Classifier(small().network, **({"labels": list("abcdef")} | wrong))


def test_mean_and_std_may_be_arrays():
    means = (np.array([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    for mean in means:
        wrapped = Classifier(small().network, list("abcdef"), (), (5, 7), mean, mean)
        assert wrapped.mean == pytest.approx((0.1, 0.2, 0.3))


def test_a_parametrised_layer_is_listed_as_the_layer_that_it_is():
    mine = small(nn.Conv2d(3, 3, 1), nn.ReLU())
    plain = mine.layers()
    torch.nn.utils.parametrizations.weight_norm(mine.network[0]).eval()
    assert mine.layers() == plain
    assert [layer.kind for layer in plain] == ["Conv2d", "ReLU", "Conv2d", "Head"]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    "ask",
    [
        lambda classifier, x: di.saliency_map(classifier, x, 0),
        lambda classifier, x: di.linearise(classifier, x, 0),
        lambda classifier, x: next(di.class_model(classifier, 0, start=x, steps=1)),
        lambda classifier, x: di.backward_ladder(classifier, x, 0, rules=("gradient",)),
    ],
    ids=["a map", "a line", "a class model", "a ladder"],
)
def test_a_reentrant_checkpoint_is_named_with_the_remedy(ask):
    class Checkpointed(nn.Module):
        def __init__(self, reentrant):
            super().__init__()
            self.body, self.reentrant = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), reentrant

        def forward(self, x):
            return checkpoint(self.body, x, use_reentrant=self.reentrant)

    made = [Classifier(Checkpointed(r).eval(), ["one", "other"], (), (4, 4), (0.4,), (0.25,)) for r in (True, False)]
    x = torch.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"reentrant checkpoint.*use_reentrant=False"):
        ask(made[0], x)
    assert ask(made[1], x) is not None
