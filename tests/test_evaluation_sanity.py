"""Sanity checks against oracles by hand: ranks by counting, SSIM by its formula in loops, weights one by one."""

import copy
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from no_trace import no_trace
from PIL import Image
from small_networks import MEAN, STD, MadeOf, made_of
from torch import nn
from torch.nn.utils import prune

import deepinside_edu as di
from deepinside_edu.evaluation import sanity
from deepinside_edu.evaluation.maps import compute_maps
from deepinside_edu.evaluation.sanity import (
    Cascade,
    Similarity,
    compare_maps,
    layer_names,
    randomise_layers,
    sanity_check,
    sanity_table,
)

SIDE = 16
LABELS = ("ape", "bee", "cat")


def convolutional(seed=0, **options):
    """Convolution, batch norm, ReLU, convolution, ReLU, linear: 3×16×16 to three scores, untrained."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(5 * 12 * 12, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
        network[1].running_mean.normal_()
        network[1].running_var.uniform_(0.5, 2)
    return di.Classifier(network, LABELS, (), (SIDE, SIDE), MEAN, STD, **options)


@pytest.fixture
def small():
    return convolutional()


@pytest.fixture
def image():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32))


def map_of(seed, shape=(13, 14)):
    return np.random.default_rng(seed).gamma(1.0, size=shape)


# --- comparing two maps ----------------------------------------------------------------------------------------------


def ranks_by_counting(values):
    """Each value's rank: the number of those below it, plus half the number of equal ones."""
    flat = np.ravel(values).tolist()
    return [sum(b < a for b in flat) + (sum(b == a for b in flat) + 1) / 2 for a in flat]


def rank_correlation_by_hand(one, other):
    a, b = ranks_by_counting(one), ranks_by_counting(other)
    n = len(a)
    mean = (n + 1) / 2
    covariance = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    return covariance / math.sqrt(sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))


def drawn_by_hand(m):
    """The map with its 99.5 % quantile, by linear interpolation between the sorted values, as 1."""
    flat = sorted(np.ravel(m).tolist())
    place = 0.995 * (len(flat) - 1)
    below = math.floor(place)
    quantile = flat[below] + (place - below) * (flat[min(below + 1, len(flat) - 1)] - flat[below])
    return [[min(value / quantile, 1) for value in row] for row in np.asarray(m).tolist()]


def ssim_by_hand(one, other):
    """Wang et al. 2004, equation 13, window by window."""
    one, other = drawn_by_hand(one), drawn_by_hand(other)
    weights = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in range(-5, 6) for j in range(-5, 6)}
    total = sum(weights.values())
    found = []
    for row in range(5, len(one) - 5):
        for column in range(5, len(one[0]) - 5):
            terms = [(w / total, one[row + i][column + j], other[row + i][column + j])
                     for (i, j), w in weights.items()]  # fmt: skip
            mu, nu = sum(w * a for w, a, _ in terms), sum(w * b for w, _, b in terms)
            var_a, var_b = sum(w * (a - mu) ** 2 for w, a, _ in terms), sum(w * (b - nu) ** 2 for w, _, b in terms)
            covariance = sum(w * (a - mu) * (b - nu) for w, a, b in terms)
            c1, c2 = 0.01**2, 0.03**2
            found.append(
                (2 * mu * nu + c1) * (2 * covariance + c2) / ((mu**2 + nu**2 + c1) * (var_a + var_b + c2))
            )  # fmt: skip
    return sum(found) / len(found)


def test_rank_correlation_and_ssim_of_one_window_are_the_formulas():
    one, other = map_of(0, (11, 11)), map_of(1, (11, 11))
    other[2:9, 3:7] = one[2:9, 3:7]
    found = compare_maps(one, other)
    assert found.rank_correlation == pytest.approx(rank_correlation_by_hand(one, other), abs=1e-12)
    assert found.ssim == pytest.approx(ssim_by_hand(one, other), abs=1e-12)
    assert 0.2 < found.ssim < 0.95


@given(st.integers(0, 10**6), st.integers(11, 14), st.integers(11, 14), st.integers(1, 9))
def test_both_measures_are_the_formulas_for_any_maps_with_ties_too(seed, height, width, levels):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, levels + 1, (2, height, width)).astype(float)
    one[0, :2], other[-1, :2] = (0, levels + 1), (levels + 1, 0)  # neither is constant
    found = compare_maps(one, other)
    assert found.rank_correlation == pytest.approx(rank_correlation_by_hand(one, other), abs=1e-10)
    if min(np.quantile(one, 0.995), np.quantile(other, 0.995)) > 0:
        assert found.ssim == pytest.approx(ssim_by_hand(one, other), abs=1e-10)


@given(st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_the_scale_of_a_map_says_nothing_and_the_order_of_the_two_neither(seed, scale):
    one, other = map_of(seed), map_of(seed + 1)
    assert compare_maps(scale * one, other) == pytest.approx(compare_maps(one, other), abs=1e-9)
    assert compare_maps(other, one) == pytest.approx(compare_maps(one, other), abs=1e-9)
    assert compare_maps(one, scale * one) == pytest.approx((1, 1), abs=1e-9)


def test_a_monotonous_change_keeps_the_ranks_and_one_upside_down_turns_them_round():
    one = map_of(3)
    changed = compare_maps(one, one**3)
    assert changed.rank_correlation == pytest.approx(1)
    assert changed.ssim < 0.9
    assert compare_maps(one, one.max() - one).rank_correlation == pytest.approx(-1)


def test_one_extreme_pixel_does_not_decide():
    one = map_of(4, (40, 40))
    spoilt = one.copy()
    spoilt[20, 20] = 1e9
    assert compare_maps(one, spoilt).ssim > 0.9
    assert compare_maps(one, spoilt).rank_correlation > 0.99


def test_a_constant_map_has_no_order_and_the_structure_of_none():
    one, flat = map_of(5), np.zeros((13, 14))
    for pair in ((one, flat), (flat, one), (flat, flat), (one, flat + 3)):
        assert math.isnan(compare_maps(*pair).rank_correlation)
    assert compare_maps(flat, flat).ssim == pytest.approx(1)
    assert compare_maps(one, flat).ssim < 0.1
    lonely = flat.copy()
    lonely[3, 4] = 2.0  # its 99.5 % quantile is 0, so its maximum is drawn as 1
    assert compare_maps(lonely, lonely) == pytest.approx((1, 1))
    assert compare_maps(lonely, flat).ssim < 1


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (np.ones((12, 12)), np.ones((12, 13)), r"one shape, got \(12, 12\) and \(12, 13\)"),
        (np.ones((10, 12)), np.ones((10, 12)), "at least 11×11"),
        (np.ones(144), np.ones(144), "at least 11×11"),
        (np.ones((12, 12)), -np.ones((12, 12)), "at least 0"),
        (np.full((12, 12), np.nan), np.ones((12, 12)), "finite"),
        (np.ones((12, 12)), np.full((12, 12), np.inf), "finite"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(one, other, words):
    with pytest.raises(ValueError, match=words):
        compare_maps(one, other)


# --- which layers, in which order ------------------------------------------------------------------------------------


def test_layers_are_those_with_weights_from_the_last_to_the_first(small):
    assert layer_names(small) == ("6", "3", "1", "0")


def test_the_order_is_that_of_running_not_of_registration():
    network = MadeOf(
        lambda self, x: self.head(self.late(torch.relu(self.early(x))).flatten(1)),
        head=nn.Linear(4 * 12 * 12, 3), late=nn.Conv2d(4, 4, 3), unused=nn.Conv2d(3, 3, 1), early=nn.Conv2d(3, 4, 3),
    )  # fmt: skip
    classifier = di.Classifier(network.eval(), LABELS, (), (SIDE, SIDE), MEAN, STD)
    assert layer_names(classifier) == ("head", "late", "early", "the rest")
    last = randomise_layers(classifier, 4).network
    assert not torch.equal(last.unused.weight, network.unused.weight)
    assert torch.equal(randomise_layers(classifier, 3).network.unused.weight, network.unused.weight)


def test_a_layer_that_runs_twice_is_one_and_stands_where_it_runs_last():
    def forward(self, x):
        return self.twice(torch.relu(self.between(torch.relu(self.twice(x)))))

    classifier = made_of(forward, twice=nn.Conv2d(3, 3, 1), between=nn.Conv2d(3, 3, 1))
    assert layer_names(classifier) == ("head.1", "twice", "between")


def test_weights_that_an_attention_hands_to_no_layer_are_its_own(image):
    def forward(self, x):
        row = self.embed(x.flatten(2).transpose(1, 2))
        return self.attention(row, row, row, need_weights=False)[0]

    classifier = made_of(forward, embed=nn.Linear(3, 4), attention=nn.MultiheadAttention(4, 2, batch_first=True))
    assert layer_names(classifier) == ("head.1", "attention", "embed")
    fresh = randomise_layers(classifier, 2).network.attention
    trained = classifier.network.attention
    for name in ("in_proj_weight", "out_proj.weight"):
        assert not torch.isin(fresh.get_parameter(name), trained.get_parameter(name)).any()
    assert torch.equal(randomise_layers(classifier, 1).network.attention.out_proj.weight, trained.out_proj.weight)


def test_the_network_on_board_has_26_layers(classifier):
    names = layer_names(classifier)
    assert len(names) == 26
    assert (names[0], names[-1]) == ("classifier.1", "features.0")
    assert names[1:4] == ("features.12.expand3x3", "features.12.expand1x1", "features.12.squeeze")


def test_a_network_without_weights_or_in_training_mode_is_refused(small):
    bare = MadeOf(lambda self, x: x.mean((2, 3)) * 9)
    with pytest.raises(ValueError, match="no weights"):
        layer_names(di.Classifier(bare.eval(), LABELS, (), (SIDE, SIDE), MEAN, STD))
    with pytest.raises(TypeError, match="expected a Classifier first, got Sequential"):
        randomise_layers(small.network, 1)
    small.network.train()
    with pytest.raises(ValueError, match="training mode"):
        randomise_layers(small, 1)


# --- forgetting ------------------------------------------------------------------------------------------------------


def test_the_last_layers_are_random_the_others_shared_and_the_given_network_is_as_it_was(small):
    names = layer_names(small)
    with no_trace(small.network):
        cascade = [randomise_layers(small, k) for k in range(len(names) + 1)]
    for k, each in enumerate(cascade):
        assert (each.labels, each.size, each.mean, each.std) == (small.labels, small.size, small.mean, small.std)
        for place, name in enumerate(names):
            for own, weight in small.network.get_submodule(name).named_parameters():
                new = each.network.get_submodule(name).get_parameter(own)
                if place < k:
                    assert not torch.isin(new, weight).any()
                    assert new.data_ptr() != weight.data_ptr()
                else:
                    assert new is weight
    for one, more in pairwise(cascade[1:]):  # a random layer stays the same random layer
        assert torch.equal(one.network[6].weight, more.network[6].weight)
    assert cascade[0].network is not small.network


def test_each_kind_of_layer_is_drawn_as_pytorch_makes_it(small):
    network = randomise_layers(small, 4, random_state=7).network
    for name, inputs in (("6", 5 * 12 * 12), ("3", 4 * 9), ("0", 3 * 9)):
        weight = network.get_submodule(name).weight.detach()
        assert float(weight.abs().max()) == pytest.approx(inputs**-0.5, rel=0.1)
        assert float(weight.abs().max()) <= inputs**-0.5
        assert float(weight.std()) == pytest.approx((3 * inputs) ** -0.5, rel=0.2)
        assert float(network.get_submodule(name).bias.detach().abs().max()) <= inputs**-0.5
    forgotten = nn.BatchNorm2d(4).state_dict()
    assert all(torch.equal(network[1].state_dict()[name], value) for name, value in forgotten.items())
    learnt = small.network[1].state_dict()
    assert not any(torch.equal(learnt[name], forgotten[name]) for name in ("running_mean", "bias"))


def test_the_weights_are_those_that_reset_parameters_draws_from_the_last_layer_down(small):
    by_hand = copy.deepcopy(small.network)
    torch.manual_seed(5)
    for name in ("6", "3", "1", "0"):
        by_hand.get_submodule(name).reset_parameters()
    found = randomise_layers(small, 4, random_state=5).network
    for name, weight in by_hand.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name


def test_another_random_state_draws_others_and_nobody_elses_numbers_are_used_up(small):
    one, same, other = (randomise_layers(small, 2, state).network[6].weight for state in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.isin(one, other).any()
    torch.manual_seed(0)
    before = torch.rand(3)
    torch.manual_seed(0)
    randomise_layers(small, 3)
    assert torch.equal(torch.rand(3), before)


def test_weights_of_a_layer_without_reset_parameters_are_normal_with_their_own_mean_and_spread():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.linspace(4, 6, 2000))
            self.one = nn.Parameter(torch.tensor([3.0]))

        def forward(self, x):
            return x * self.scale.mean() * self.one

    torch.manual_seed(0)
    network = nn.Sequential(Scale(), nn.Flatten(), nn.Linear(3 * SIDE**2, 3)).eval()
    classifier = di.Classifier(network, LABELS, (), (SIDE, SIDE), MEAN, STD)
    old, fresh = (each.network[0].state_dict() for each in (classifier, randomise_layers(classifier, 2)))
    assert torch.isin(fresh["scale"], old["scale"]).sum() < 20
    assert float(fresh["scale"].mean()) == pytest.approx(5, abs=0.1)
    assert float(fresh["scale"].std()) == pytest.approx(float(old["scale"].std()), rel=0.1)
    assert float(fresh["scale"].max()) > 6.2
    assert float(fresh["one"]) == 3


def test_weights_that_two_layers_share_stay_shared(small):
    network = nn.Sequential(
        nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(3 * SIDE**2, 3)
    ).eval()
    network[2].weight = network[0].weight
    classifier = di.Classifier(network, LABELS, (), (SIDE, SIDE), MEAN, STD)
    for k in (2, 3):
        fresh = randomise_layers(classifier, k).network
        assert fresh[2].weight is fresh[0].weight
        assert fresh[2].weight is not network[0].weight


def test_a_half_forgotten_network_scores_as_its_two_halves(small, image):
    random = randomise_layers(small, 2)
    with torch.no_grad():
        trained = small.network[:3](image.clone())
        by_hand = random.network[3:](trained)
    assert torch.equal(random.scores(image), by_hand)
    assert not torch.allclose(by_hand, small.scores(image))


def test_more_layers_than_there_are_are_refused(small):
    for down_to in (-1, 5):
        with pytest.raises(ValueError, match=f"down_to from 0 to 4, a whole number, got {down_to}"):
            randomise_layers(small, down_to)
    with pytest.raises(TypeError):
        randomise_layers(small, 1.5)
    with pytest.raises(TypeError):
        randomise_layers(small, 1, random_state=None)


# --- the check -------------------------------------------------------------------------------------------------------


def test_the_check_compares_each_stage_with_the_trained_network(small, image):
    methods = ("gradient", "guided", "edges")
    with no_trace(small.network, image):
        check = sanity_check(small, image, methods=methods, random_state=3)
    c = int(small.scores(image).argmax())
    assert (check.class_index, check.layers) == (c, ("6", "3", "1", "0"))
    assert len(check.maps) == len(check.similarities) == 5
    trained = compute_maps(small, image, c, methods)
    for k in range(5):
        maps = compute_maps(randomise_layers(small, k, 3), image, c, methods)
        assert list(check.maps[k]) == list(methods)
        for method in methods:
            assert np.array_equal(check.maps[k][method], maps[method])
            assert check.similarities[k][method] == compare_maps(trained[method], maps[method])
    assert check.similarities[0] == dict.fromkeys(methods, pytest.approx((1, 1)))
    assert all(row["edges"] == pytest.approx((1, 1)) for row in check.similarities)
    assert check.similarities[1]["gradient"].rank_correlation < 0.99


def test_the_class_is_the_one_asked_for_at_every_stage(small, image):
    last = int(small.scores(image).argmin())
    check = sanity_check(small, image, last, ("gradient",))
    assert check.class_index == last
    w = di.linearise(randomise_layers(small, 4), image, last).w
    np.testing.assert_allclose(check.maps[4]["gradient"], di.max_abs(w)[0], rtol=1e-5)
    with pytest.raises(ValueError, match="out of range"):
        sanity_check(small, image, 3)
    with pytest.raises(ValueError, match="one or more of gradient"):
        sanity_check(small, image, methods=("grad",))


def test_an_image_smaller_than_the_window_is_refused():
    classifier = made_of(lambda self, x: torch.relu(self.first(x)), first=nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="at least 11×11"):
        sanity_check(classifier, torch.ones(1, 3, 6, 6, dtype=torch.float64))


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_holds_the_means_over_images_and_draws(small):
    pictures = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green")]
    for k, picture in enumerate(pictures):
        picture.paste((9 * k, 99, 200), (4, 5, 9 + k, 14))
    table = sanity_table(small, iter(pictures), ("gradient", "edges"), random_states=(0, 4))
    checks = [sanity_check(small, p, None, ("gradient", "edges"), s) for s in (0, 4) for p in pictures]
    assert (table.layers, table.images, table.random_states) == (("6", "3", "1", "0"), 2, (0, 4))
    for k in range(5):
        for method in ("gradient", "edges"):
            row = [check.similarities[k][method] for check in checks]
            assert table.similarities[k][method].ssim == pytest.approx(np.mean([s.ssim for s in row]))
            known = [s.rank_correlation for s in row if not math.isnan(s.rank_correlation)]
            assert table.similarities[k][method].rank_correlation == pytest.approx(np.mean(known))


def test_constant_maps_are_counted_and_left_out_of_the_mean(small, monkeypatch):
    stages = iter([1.0, 0.0, 2.0, 0.0, 0.0] * 2)
    given = map_of(0)

    def maps(classifier, x, c, methods, random_state):
        stage = next(stages)
        return {"gradient": given * (stage > 0) + given**2 * (stage > 1), "edges": given}

    monkeypatch.setattr(sanity, "compute_maps", maps)
    monkeypatch.setattr(sanity, "compare_maps", lambda a, b: Similarity(math.nan if np.ptp(b) == 0 else 0.5, 0.25))
    table = sanity_table(small, [torch.zeros(1, 3, SIDE, SIDE)] * 2, ("gradient", "edges"))
    assert [row["gradient"] for row in table.constant] == [0, 1, 0, 1, 1]
    assert [row["edges"] for row in table.constant] == [0] * 5
    found = [row["gradient"].rank_correlation for row in table.similarities]
    assert [math.isnan(value) for value in found] == [False, True, False, True, True]
    assert found[0] == found[2] == 0.5
    assert "constant maps at most: gradient 100%" in str(table)


def test_some_constant_maps_do_not_take_the_others_with_them(small, monkeypatch):
    values = iter([0.5, 0.1, math.nan, 0.1, 0.1, 0.5, 0.3, 0.7, 0.3, math.nan])
    monkeypatch.setattr(sanity, "compare_maps", lambda a, b: Similarity(next(values), 1.0))
    table = sanity_table(small, [torch.ones(1, 3, SIDE, SIDE)] * 2, ("gradient",))
    found = [row["gradient"].rank_correlation for row in table.similarities]
    assert found == pytest.approx([0.5, 0.2, 0.7, 0.2, 0.1])


def test_the_table_reads_as_a_table(small, image):
    table = sanity_table(small, [image], ("gradient", "edges"), (1, 2, 3))
    lines = str(table).splitlines()
    assert len(lines) == 7
    assert lines[0].split() == ["rank", "correlation", "·", "SSIM", "gradient", "edges"]
    assert lines[1].split() == ["0", "(trained)", "1.00", "·", "1.00", "1.00", "·", "1.00"]
    rank, ssim = table.similarities[4]["gradient"]
    assert lines[5].split()[:5] == ["4", "0", f"{rank:.2f}", "·", f"{ssim:.2f}"]
    assert "1 images, 3 draws of weights; constant maps at most:" in lines[6]
    assert len({line.index("·") for line in lines[1:6]}) == 1


def test_a_table_of_nothing_is_refused(small, image):
    with pytest.raises(ValueError, match="at least one image and one random state, got 0 and 1"):
        sanity_table(small, [])
    with pytest.raises(ValueError, match="got 1 and 0"):
        sanity_table(small, [image], random_states=())


def test_gradient_forgets_and_edges_do_not_on_the_network_on_board(classifier):
    cascade = Cascade(classifier)
    x, last = classifier.prepare(di.photo("red_panda")), len(cascade.layers)
    methods = ("gradient", "guided", "edges")
    trained, forgotten = (compute_maps(cascade(k), x, 387, methods) for k in (0, last))
    likeness = {method: compare_maps(trained[method], forgotten[method]) for method in methods}
    assert likeness["edges"] == pytest.approx((1, 1))
    assert likeness["gradient"].rank_correlation < likeness["guided"].rank_correlation < 0.9
    assert cascade(last).top(x, 1)[0].probability < 0.01 < classifier.top(x, 1)[0].probability


@pytest.mark.parametrize("images", ["dog.jpg", b"bytes", di.photo("duck"), Path("dog.jpg")])
def test_one_image_is_no_list_of_images(small, images):
    with pytest.raises(TypeError, match="Put one into a list"):
        sanity_table(small, images)


def test_random_states_are_named_if_they_cannot_be(small, image):
    with pytest.raises(TypeError, match=r"several random states, got list and 3"):
        sanity_table(small, [image], random_states=3)
    for state in (-1, 2**64):
        with pytest.raises(ValueError, match=f"random_state from 0 to {2**64 - 1}, a whole number, got {state}"):
            randomise_layers(small, 1, state)


@pytest.mark.parametrize(
    "made_anew",
    [torch.nn.utils.weight_norm, torch.nn.utils.spectral_norm,
     lambda layer: prune.l1_unstructured(layer, "weight", 0.5)],
    ids=["weight_norm", "spectral_norm", "pruned"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
def test_a_network_that_makes_its_weights_anew_is_checked_after_it_has_run(made_anew, image):
    """Its pre-hook leaves `weight` on the layer, with a graph, and this must stay as it was."""
    torch.manual_seed(0)
    network = nn.Sequential(made_anew(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).eval()
    classifier = di.Classifier(network, LABELS, (), (SIDE, SIDE), MEAN, STD)
    network(image)
    left, before = network[0].weight, network[0].weight.detach().clone()
    assert not left.is_leaf
    result = sanity_check(classifier, image, 1, methods=["gradient"])
    assert result.layers == ("3", "0")
    assert network[0].weight is left or torch.equal(network[0].weight, before)
    assert torch.equal(left, before)
    trained = [di.saliency_map(classifier, image, 1), result.maps[0]["gradient"]]
    np.testing.assert_allclose(*trained, rtol=1e-5, atol=1e-7)
    assert not np.allclose(result.maps[1]["gradient"], result.maps[2]["gradient"], rtol=0.01)  # the layer has forgotten


def test_tensors_are_compared_like_arrays():
    one, other = (torch.from_numpy(map_of(seed)) for seed in (1, 2))
    assert compare_maps(one.clone().requires_grad_(), other) == compare_maps(one.numpy(), other.numpy())
    with pytest.raises(ValueError, match="truth values"):
        compare_maps(one > 0.5, other)
