"""A network is tried on noise: one that couples a batch, is random, or gives no scores is found; a sound one passes."""

import copy
import random

import numpy as np
import pytest
import torch
from no_trace import no_trace
from small_networks import MadeOf, StepFunction
from torch import nn
from torch.nn import functional

from deepinside_edu import Classifier, class_model, linearise, localise, photo, saliency_map, saliency_maps
from deepinside_edu.saliency import saliency_maps_of_batch
from deepinside_edu.trial import agree, noise_pictures, own_mode, try_out

LABELS = ("ape", "bee", "cat", "dog")


def network(between=lambda self, y: y, after=lambda self, s: s, dtype=torch.float64, **children):
    """Convolution, what the test puts in, ReLU, mean of each channel, what the test puts in; random weights."""
    torch.manual_seed(0)
    made = MadeOf(
        lambda self, x: after(self, between(self, self.conv(x)).relu().mean((2, 3))),
        conv=nn.Conv2d(3, 4, 3),
        **children,
    )
    return made.to(dtype).eval()


def wrap(made, labels=LABELS, **options):
    return Classifier(made, labels, size=(12, 12), **options)


def images(count, seed=1):
    return torch.randn(count, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- ways back that are no gradients ---------------------------------------------------------------------------------


class GuidedRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, r):
        return r.clamp(min=0) * (ctx.saved_tensors[0] > 0)


class DeconvnetRelu(GuidedRelu):
    @staticmethod
    def backward(ctx, r):
        return r.clamp(min=0)


class Failing(GuidedRelu):
    @staticmethod
    def backward(ctx, r):
        raise KeyError("no way back")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_relu_with_a_way_back_of_its_own_is_refused_and_one_that_is_a_gradient_is_not(dtype):
    for function in (GuidedRelu, DeconvnetRelu):
        made = network(lambda self, y, f=function: f.apply(y), dtype=dtype)
        with no_trace(made), pytest.raises(ValueError, match=r"not their gradient.*Use torch's ReLU.*rules='guided'"):
            wrap(made)
    wrap(network(lambda self, y: StepFunction.apply(y), dtype=dtype))


def test_a_way_back_that_fails_is_told_when_it_is_walked():
    classifier = wrap(network(lambda self, y: Failing.apply(y)))
    assert len(classifier.top(classifier.noise())) == 4
    with pytest.raises(KeyError, match="no way back"):
        saliency_map(classifier, classifier.noise(), 0)


# --- images of one batch ---------------------------------------------------------------------------------------------

COUPLED = {
    "batch norm without statistics": network(
        lambda self, y: self.norm(y), norm=nn.BatchNorm2d(4, track_running_stats=False)
    ),
    "mean of the batch": network(lambda self, y: y - y.mean(0, keepdim=True)),
    "softmax over the batch": network(lambda self, y: y * y.softmax(0)),
    "attention across the batch": network(after=lambda self, s: (s @ s.T).softmax(1) @ s),
    "the first image": network(lambda self, y: y - y[:1].mean()),
    "the last image": network(lambda self, y: y - y[-1:].mean()),
    "the neighbour": network(lambda self, y: y + y.roll(1, 0)),
    "the largest": network(lambda self, y: y / y.abs().amax()),
    "a large bias": network(
        lambda self, y: self.norm(y),
        lambda self, s: s + torch.tensor([1e5, 0, 0, 0]),
        torch.float32,
        norm=nn.BatchNorm2d(4, track_running_stats=False),
    ),
    "the batch as one": network(after=lambda self, s: s.mean(0, keepdim=True)),
}
ALONE = {
    "plain": network(),
    "instance norm": network(lambda self, y: self.norm(y), norm=nn.InstanceNorm2d(4, affine=True)),
    "group norm": network(lambda self, y: self.norm(y), norm=nn.GroupNorm(2, 4)),
    "batch norm with statistics": network(lambda self, y: self.norm(y), norm=nn.BatchNorm2d(4)),
    "dropout of evaluation mode": network(lambda self, y: self.drop(y), drop=nn.Dropout()),
    "single precision": network(dtype=torch.float32),
    "a large bias": network(after=lambda self, s: s + torch.tensor([1e5, 1000, 0, 0]), dtype=torch.float32),
    "the same scores for all": network(after=lambda self, s: 0 * s + 3, dtype=torch.float32),
    "half precision": network(dtype=torch.float16),
    "bfloat16": network(dtype=torch.bfloat16),
}


@pytest.mark.parametrize("kind", ALONE)
def test_a_network_of_single_images_runs_batches(kind):
    assert wrap(ALONE[kind]).one_at_a_time is False


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_squeezenet_runs_batches(classifier, dtype):
    assert Classifier(copy.deepcopy(classifier.network).to(dtype), classifier.labels).one_at_a_time is False


@pytest.mark.parametrize("kind", COUPLED)
def test_each_score_and_each_gradient_is_of_one_image_alone(kind):
    """The oracle is the network itself, which is given one image after the other."""
    with no_trace(COUPLED[kind]):
        classifier = wrap(COUPLED[kind])
    assert classifier.one_at_a_time is True
    batch = images(4).to(classifier.dtype)
    alone = torch.cat([COUPLED[kind](x[None]) for x in batch])
    torch.testing.assert_close(classifier.scores(batch), alone, check_stride=False)
    for n, w in enumerate(linearise(classifier, batch, 2).w):
        leaf = batch[n : n + 1].clone().requires_grad_()
        (expected,) = torch.autograd.grad(COUPLED[kind](leaf)[0, 2], leaf)
        torch.testing.assert_close(w, expected[0])


def test_ten_crops_and_batches_of_a_coupled_network_do_not_depend_on_each_other():
    classifier = wrap(COUPLED["batch norm without statistics"])
    x = images(3)
    together = saliency_maps_of_batch(classifier, x, [[1], [2], [3]], crops=10)
    for n, (found,) in enumerate(together):
        np.testing.assert_allclose(found, saliency_map(classifier, x[n : n + 1], n + 1, crops=10), rtol=1e-6)
    steps = [step for step, _ in zip(class_model(classifier, [0, 3], start="noise"), range(3), strict=False)]
    for which, c in enumerate((0, 3)):
        expected = [step for step, _ in zip(class_model(classifier, c, start="noise"), range(3), strict=False)]
        assert [each[which].score for each in steps] == pytest.approx([each.score for each in expected])


# --- random networks -------------------------------------------------------------------------------------------------

RANDOM = {
    "functional dropout": lambda self, y: functional.dropout(y),
    "functional dropout2d": lambda self, y: functional.dropout2d(y, 0.3),
    "noise": lambda self, y: y + torch.randn_like(y),
    "a little noise": lambda self, y: y + 1e-9 * torch.randn_like(y),
    "bernoulli": lambda self, y: y * torch.bernoulli(torch.full_like(y, 0.7)),
    "gumbel": lambda self, y: functional.gumbel_softmax(y, dim=1),
    "python's own": lambda self, y: y if random.random() < 0.5 else -y,
    "numpy's own": lambda self, y: y * float(np.random.rand()),  # noqa: NPY002 - the shared one is the point
    "a generator of its own": lambda self, y: y + torch.rand(y.shape, generator=GENERATOR, dtype=y.dtype),
}
GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", RANDOM)
def test_a_network_that_is_random_in_evaluation_mode_is_refused(kind):
    made = network(RANDOM[kind])
    with pytest.raises(ValueError, match=r"scores change from call to call.*training=self\.training"), no_trace(made):
        wrap(made)


def test_a_random_network_of_another_size_is_refused_at_its_first_scores():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Flatten(), MadeOf(lambda self, x: functional.dropout(x)), nn.Linear(3 * 5 * 5, 4)).eval()
    classifier = Classifier(made, LABELS)
    assert classifier.one_at_a_time is None
    x = torch.randn(1, 3, 5, 5)
    for ask in (lambda x: classifier.scores(x), lambda x: saliency_map(classifier, x, 1)):
        with pytest.raises(ValueError, match="scores change from call to call"), no_trace(made):
            ask(x)


RARE = {
    "numpy": (lambda: np.random.default_rng(0), lambda rng: rng.random()),
    "numpy's older": (lambda: np.random.RandomState(0), lambda rng: rng.rand()),
    "numpy's Mersenne twister": (lambda: np.random.Generator(np.random.MT19937(0)), lambda rng: rng.random()),
    "python": (lambda: random.Random(0), lambda rng: rng.random()),
    "torch": (lambda: torch.Generator().manual_seed(0), lambda rng: float(torch.rand(1, generator=rng))),
}


@pytest.mark.parametrize("kind", RARE)
def test_a_generator_of_the_networks_own_is_found_though_it_changes_scores_but_rarely(kind):
    make, draw = RARE[kind]
    made = network(lambda self, y: 0 * y if draw(self.rng) < 1e-6 else y)
    made.rng = make()
    with pytest.raises(ValueError, match="scores change from call to call"):
        wrap(made)
    assert draw(made.rng) == draw(make())  # the trial has used up none


def test_a_generator_that_is_set_anew_at_each_call_is_no_fault():
    def project(self, y):
        return y + torch.randn(y.shape[1:], generator=self.rng.manual_seed(3), dtype=y.dtype)

    made = network(project)
    made.rng = torch.Generator()
    wrap(made)


def test_random_numbers_that_change_no_score_are_no_fault():
    def draws(self, y):
        torch.rand(3), random.random()
        return functional.dropout(y, 0.0)

    made = network(draws)
    with no_trace(made):
        wrap(made)


# --- what are no scores ----------------------------------------------------------------------------------------------

NO_SCORES = {
    "sigmoid": (lambda self, s: s.sigmoid(), "sigmoids .*last sigmoid"),
    "sigmoid by module": (lambda self, s: nn.Sigmoid()(s), "sigmoids"),
    "per cent of sigmoids": (lambda self, s: 100 * s.sigmoid(), "sigmoids"),
    "log-sigmoid": (
        lambda self, s: functional.logsigmoid(s),
        "logarithms of sigmoids .*last sigmoid|logarithms of sigmoids",
    ),
    "logarithm of a sigmoid": (lambda self, s: (s.sigmoid() + 1e-9).log(), "sigmoids"),
    "hard sigmoid": (lambda self, s: functional.hardsigmoid(s), "sigmoids"),
    "softmax": (lambda self, s: s.softmax(1), "probabilities .*last softmax"),
    "softmax with a temperature": (lambda self, s: (s / 20).softmax(1), "probabilities"),
    "per cent": (lambda self, s: 100 * s.softmax(1), "probabilities"),
    "per cent that no graph shows": (lambda self, s: 100 * s.exp() / s.exp().sum(1, keepdim=True), "percentages"),
    "log-softmax": (lambda self, s: s.log_softmax(1), "logarithms of probabilities"),
    "negative log-softmax": (lambda self, s: -s.log_softmax(1), "logarithms of probabilities"),
    "softmax seen from outside alone": (lambda self, s: s.detach().softmax(1), "probabilities"),
    "two sigmoids that add up to 1": (
        lambda self, s: torch.cat([s[:, :2].sigmoid() / 2, (1 - s[:, :2].sigmoid()) / 2], 1),
        "sigmoids",
    ),
    "decadic logarithm": (lambda self, s: s.softmax(1).log10(), "probabilities"),
    "binary logarithm": (lambda self, s: s.softmax(1).log2(), "probabilities"),
    "root": (lambda self, s: s.softmax(1).sqrt(), "probabilities"),
    "squares": (lambda self, s: s.sigmoid() ** 2, "sigmoids"),
    "in another order": (lambda self, s: s.sigmoid()[:, [3, 2, 1, 0]], "sigmoids"),
    "some of them": (lambda self, s: s.sigmoid().index_select(1, torch.tensor([3, 1, 0, 2])), "sigmoids"),
    "side by side": (lambda self, s: torch.cat([s[:, :2].sigmoid(), s[:, 2:].sigmoid()], 1), "sigmoids"),
    "mean of two": (lambda self, s: (s.sigmoid() + (2 * s).sigmoid()) / 2, "sigmoids"),
    "mean of a stack": (lambda self, s: torch.stack([s.sigmoid(), (2 * s).sigmoid()]).mean(0), "sigmoids"),
    "product of two": (lambda self, s: s.sigmoid() * (3 * s).sigmoid(), "sigmoids"),
    "in another shape": (lambda self, s: s[:, :, None].softmax(1).flatten(1).double(), "probabilities"),
}


@pytest.mark.parametrize("kind", NO_SCORES)
def test_a_network_that_ends_with_probabilities_is_refused(kind):
    last, said = NO_SCORES[kind]
    with pytest.raises(ValueError, match=f"outputs are {said}"):
        wrap(network(after=last))


SCORES = {
    "linear": lambda self, s: s,
    "between 0 and 1 by chance": lambda self, s: 0.001 * s.abs(),
    "below 0": lambda self, s: -s.square(),
    "centred": lambda self, s: s - s.mean(1, keepdim=True),
    "squeezed features": lambda self, s: self.head(s.sigmoid()),
    "gated": lambda self, s: s * s.sigmoid(),
    "attention": lambda self, s: s.softmax(1) * s,
    "tanh": lambda self, s: s.tanh(),
    "half of them gated": lambda self, s: torch.cat([s[:, :2], s[:, 2:].sigmoid()], 1),
    "a sum of a gate and scores": lambda self, s: s.sigmoid() + self.head(s),
}


@pytest.mark.parametrize("kind", SCORES)
def test_scores_of_any_kind_pass(kind):
    wrap(network(after=SCORES[kind], head=nn.Linear(4, 4)))


@pytest.mark.parametrize("start", [(0.1, 0.2, 0.3, 0.4), (-2.3025851, -1.6094379, -1.2039728, -0.9162907)])
def test_a_head_that_starts_as_the_classes_shares_gives_scores(start):
    """An untrained head's biases may be shares or their logarithms, which add up as probabilities do."""
    made = network(after=lambda self, s: self.head(s), head=nn.Linear(4, 4))
    made.head.weight.data *= 1e-4
    made.head.bias.data = torch.tensor(start, dtype=torch.float64)
    wrap(made)
    made.forward = lambda x, forward=made.forward: forward(x).detach()
    with pytest.raises(ValueError, match="probabilities"):  # if no graph shows it, the sums do
        wrap(made)


@pytest.mark.parametrize("labels", [("cat",), ("no", "yes")])
def test_a_single_score_is_refused_and_the_remedy_works(labels):
    one = network(after=lambda self, s: s[:, :1])
    with pytest.raises(ValueError, match=r"one score, whose probability is 1.*torch\.cat\(\[0 \* s, s\], 1\)"):
        wrap(one, labels)
    two = wrap(network(after=lambda self, s: torch.cat([0 * s[:, :1], s[:, :1]], 1)), ("no", "yes"))
    x = images(1)
    chance = {each.label: each.probability for each in two.top(x)}
    assert chance["yes"] == pytest.approx(1 / (1 + float(torch.exp(-one(x)[0, 0].detach()))))  # the sigmoid
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(one(leaf).sum(), leaf)
    np.testing.assert_allclose(saliency_map(two, x, "yes"), expected.abs().amax(1)[0].numpy(), rtol=1e-6)


# --- pictures of noise -----------------------------------------------------------------------------------------------

STANDARDISING = {
    "the image": lambda self, y: (y - y.mean((1, 2, 3), keepdim=True)) / y.std((1, 2, 3), keepdim=True),
    "each channel": lambda self, y: y / y.std((2, 3), keepdim=True),
    "each row": lambda self, y: y / y.std(3, keepdim=True),
    "each pixel": lambda self, y: y / y.std(1, keepdim=True),
    "by its range": lambda self, y: y / (y.amax((1, 2, 3), keepdim=True) - y.amin((1, 2, 3), keepdim=True)),
}


@pytest.mark.parametrize("kind", STANDARDISING)
def test_a_network_that_divides_by_an_images_spread_is_well(kind):
    standardise = STANDARDISING[kind]
    torch.manual_seed(0)
    made = MadeOf(lambda self, x: self.conv(standardise(self, x)).relu().mean((2, 3)), conv=nn.Conv2d(3, 4, 3)).eval()
    classifier = wrap(made)
    x = classifier.prepare(photo("hens"))
    assert classifier.layers()[0].name == "conv"
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(made(leaf)[0, 1], leaf)
    np.testing.assert_allclose(saliency_map(classifier, x, 1), expected.abs().amax(1)[0].numpy(), rtol=1e-4, atol=1e-7)
    with pytest.raises(ValueError, match="spread of a plain image"):
        classifier.scores(torch.zeros(1, 3, 12, 12))


def test_a_network_whose_weights_are_not_finite_is_refused_at_once():
    made = network()
    made.conv.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"scores are not finite.*weights"):
        wrap(made)


def test_pictures_of_noise_are_pictures():
    """Levels 0..255 behind the normalisation, no two channels, rows or pictures alike, the same on every call."""
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
    with no_trace():
        x = noise_pictures(3, (3, 5, 7), mean, std)
    assert torch.equal(x, noise_pictures(3, (3, 5, 7), mean, std))
    p = x * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    assert -1e-6 < p.min() < p.max() < 1 + 1e-6
    assert len(p.unique()) == p.numel()
    assert p[1].mean() + 0.4 < p[2].mean()
    assert p[1].min() < p[0].min() < p[0].max() < p[2].max()
    assert noise_pictures(1, (4, 2, 2), (0.5,), (0.25,)).shape == (1, 4, 2, 2)


def test_agreement_is_up_to_rounding():
    one = torch.tensor([[100.0, -3.0]])
    assert agree(one, one * (1 + 1e-6))
    assert not agree(one, one + 1)
    assert not agree(one, one * torch.nan)
    assert not agree(one, one[0])
    assert not agree(one.double(), one.double() * (1 + 1e-6))


def test_a_trial_tells_what_came_where_that_is_no_row_of_scores():
    assert try_out(nn.Identity().eval(), torch.zeros(3, 3, 2, 2)).scores.shape == (1, 3, 2, 2)


# --- the caller's mode -----------------------------------------------------------------------------------------------


def test_own_mode_is_left_as_it_was_found():
    for outer in (torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)):
        with outer():
            before = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
            with own_mode(torch.device("cpu")):
                assert torch.is_grad_enabled()
                assert not torch.is_inference_mode_enabled()
                assert not torch.is_autocast_enabled("cpu")
            with own_mode(torch.device("cpu"), gradients=False):
                assert not torch.is_grad_enabled()
            assert before == (
                torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
            )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(classifier, dtype):
    """Bit for bit: everything is computed as outside of it."""
    picture = photo("koala")
    x = classifier.prepare(picture)

    def everything():
        yield classifier.scores(x)
        yield linearise(classifier, x, 105).w
        yield from map(torch.from_numpy, saliency_maps(classifier, picture, [105, 8], crops=10))
        yield torch.from_numpy(localise(classifier, picture, 105, crops=1).saliency)
        yield from (step.image for step in class_model(classifier, 130, "readable", steps=2))

    outside = list(everything())
    with torch.autocast("cpu", dtype=dtype):
        inside = list(everything())
    assert all(torch.equal(one, other) for one, other in zip(outside, inside, strict=True))
