"""Hooks of others: one that falsifies the gradient is refused, one that changes the scores is reported, others pass."""

import warnings

import numpy as np
import pytest
import torch
from no_trace import no_trace
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm

from deepinside_edu import Classifier, backward_ladder, saliency_map
from deepinside_edu.foreign_hooks import foreign_hooks, without_foreign_hooks, without_listeners

EVERYWHERE = nn.modules.module


def network(inplace=False):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace), nn.Conv2d(6, 6, 3), nn.ReLU(inplace), nn.Flatten(), nn.Linear(6 * 64, 4)
    ).double().eval()  # fmt: skip


def wrap(made):
    return Classifier(made, list("abcd"), size=(12, 12))


IMAGE = torch.randn(1, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def positive(module, r_in, r_out):
    return (r_in[0].clamp(min=0),)


def positive_at_relu(module, r_in, r_out):
    return positive(module, r_in, r_out) if isinstance(module, nn.ReLU) else None


def falsify_the_tensor(module, inputs, output):
    if output.requires_grad:
        output.register_hook(lambda r: r.clamp(min=0))


FALSE = {
    "backward": ("3", lambda made: made[3].register_full_backward_hook(positive)),
    "backward pre": ("3", lambda made: made[3].register_full_backward_pre_hook(lambda m, r: (r[0].clamp(min=0),))),
    "by a forward hook on the tensor": ("1", lambda made: made[1].register_forward_hook(falsify_the_tensor)),
    "scaled a little": ("0", lambda made: made[2].register_full_backward_hook(lambda m, r, _: (1.01 * r[0],))),
    "everywhere": ("every module", lambda made: EVERYWHERE.register_module_full_backward_hook(positive_at_relu)),
    "everywhere, pre": (
        "every module",
        lambda made: EVERYWHERE.register_module_full_backward_pre_hook(lambda m, r: (r[0].clamp(min=0),)),
    ),
}


@pytest.mark.parametrize("kind", FALSE)
@pytest.mark.parametrize("later", [False, True])
def test_a_hook_that_falsifies_the_gradient_is_refused_while_it_is_there(kind, later):
    made = network()
    classifier = wrap(made) if later else None
    _, hang = FALSE[kind]
    handle = hang(made)
    try:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"hook on .* not their gradient ∂S/∂I.*remove\(\)"), no_trace(made):
                saliency_map(classifier, IMAGE, 2) if classifier else wrap(made)
        if classifier:
            with pytest.raises(ValueError, match="not their gradient"):
                backward_ladder(classifier, IMAGE, 2)
    finally:
        handle.remove()
    found = saliency_map(classifier or wrap(made), IMAGE, 2)
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network()(leaf)[0, 2], leaf)
    np.testing.assert_allclose(found, expected.abs().amax(1)[0].numpy(), rtol=1e-6)


def test_hooks_under_which_the_network_does_not_run_are_named():
    made = network(inplace=True)
    made[1].register_full_backward_hook(positive)
    with pytest.raises(ValueError, match=r"does not run with the hooks that are on 1 .*remove\(\)"):
        wrap(made)


def test_a_network_of_another_size_is_not_blamed_on_its_hooks():
    made = network()
    made[1].register_forward_hook(lambda *_: None)
    classifier = Classifier(made, list("abcd"))  # at 224×224 it cannot run
    assert classifier.one_at_a_time is None
    assert saliency_map(classifier, IMAGE, 2).max() > 0


CHANGING = {
    "forward": lambda made: made[3].register_forward_hook(lambda m, x, y: y / 2),
    "forward pre": lambda made: made[3].register_forward_pre_hook(lambda m, x: (x[0] / 2,)),
    "everywhere": lambda made: EVERYWHERE.register_module_forward_hook(lambda m, x, y: y / 2 if m is made[3] else None),
}


@pytest.mark.parametrize("kind", CHANGING)
def test_a_hook_that_changes_the_scores_is_told_once(kind):
    """They are the scores of the network as it is, and the map is their gradient."""
    made = network()
    handle = CHANGING[kind](made)
    try:
        with pytest.warns(UserWarning, match=r"hook on (3|every module) changes the network's scores"):
            classifier = wrap(made)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = saliency_map(classifier, IMAGE, 2)
        leaf = IMAGE.clone().requires_grad_()
        (expected,) = torch.autograd.grad(made(leaf)[0, 2], leaf)
        np.testing.assert_allclose(found, expected.abs().amax(1)[0].numpy(), rtol=1e-6)
    finally:
        handle.remove()


def old_weight_norm(made):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(made[2])
    made[2].weight_g.data *= 3  # the weight is computed again only at the next call


HARMLESS = {
    "counting": lambda made: [m.register_forward_hook(lambda *_: None) for m in made],
    "looking at gradients": lambda made: [m.register_full_backward_hook(lambda *_: None) for m in made],
    "weight norm": old_weight_norm,
    "spectral norm": lambda made: spectral_norm(made[0]).eval(),
    "parametrised": lambda made: parametrizations.weight_norm(made[0]),
    "pruned": lambda made: prune.l1_unstructured(made[2], "weight", 0.5),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_harmless_hooks_are_let_be(kind):
    made = network()
    HARMLESS[kind](made)
    made.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier = wrap(made)
        found = saliency_map(classifier, IMAGE, 2)
        backward_ladder(classifier, IMAGE, 2)
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(made(leaf)[0, 2], leaf)
    np.testing.assert_allclose(found, expected.abs().amax(1)[0].numpy(), rtol=1e-6)


def test_a_hook_sees_each_pass_once_when_it_is_known():
    made = network()
    runs = []
    made.register_forward_hook(lambda *_: runs.append(1))
    classifier = wrap(made)
    runs.clear()
    saliency_map(classifier, IMAGE, 2)
    assert len(runs) == 1


def test_the_network_without_them_shares_its_weights_and_is_another():
    made = network()
    made[3].register_forward_hook(lambda m, x, y: 0 * y)
    expected = network()(IMAGE)
    with no_trace(made):
        bare = without_foreign_hooks(made)
        torch.testing.assert_close(bare(IMAGE), expected)
    assert not foreign_hooks(bare)
    assert [hook.where for hook in foreign_hooks(made)] == ["3"]
    assert all(one is other for one, other in zip(bare.parameters(), made.parameters(), strict=True))


ASKS = {
    "top": lambda classifier: classifier.top(IMAGE),
    "scores": lambda classifier: classifier.scores(IMAGE),
    "a map": lambda classifier: saliency_map(classifier, IMAGE, 1),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_later_hook_is_found_whatever_is_asked(ask):
    made = network()
    classifier = wrap(made)
    handle = made[2].register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.warns(UserWarning, match="a hook on 2 changes the network's scores"), no_trace(made):
        ask(classifier)
    handle.remove()
    handle = made[2].register_forward_hook(lambda module, inputs, output: nn.functional.dropout(output))
    for _ in range(2):
        with pytest.raises(ValueError, match="scores change from call to call"):
            ask(classifier)
    handle.remove()
    handle = made[5].register_forward_hook(lambda module, inputs, output: output.softmax(1))
    with pytest.raises(ValueError, match="outputs are probabilities"), no_trace(made):
        ask(classifier)
    handle.remove()
    torch.testing.assert_close(classifier.scores(IMAGE), made(IMAGE).detach())


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_later_hook_that_listens_hears_one_pass(ask):
    made, heard = network(), []
    classifier = wrap(made)
    made.register_forward_hook(lambda module, inputs, output: heard.append(output.detach()))
    for count in (1, 2):
        ask(classifier)
        assert len(heard) == count
        torch.testing.assert_close(heard[-1], network()(IMAGE).detach())


@pytest.mark.parametrize("anywhere", [True, False])
def test_a_later_hook_that_makes_images_depend_on_each_other_is_met(anywhere):
    """Also one that looks whether it runs on the module that it was made for, which a twin's is not."""
    made = network()
    classifier = wrap(made)

    def couple(module, inputs, output):
        return output - output.mean(0, keepdim=True) / 2 if anywhere or module is made[2] else None

    made[2].register_forward_hook(couple)
    batch = torch.cat([IMAGE, -IMAGE])
    with pytest.warns(UserWarning, match="changes the network's scores"):
        found = classifier.scores(batch)
    torch.testing.assert_close(found, torch.cat([made(each[None]) for each in batch]).detach())


def doubled_in_place(module, inputs, output):
    output.mul_(2)


def doubled_behind_the_graph(module, inputs, output):
    output.data.mul_(2)


LATE = {
    "answers": lambda module, inputs, output: 2 * output,
    "writes": doubled_in_place,
    "couples": lambda module, inputs, output: 3 * output - output.mean(0, keepdim=True),
}


@pytest.mark.parametrize("kind", LATE)
def test_a_hook_that_only_listens_hears_no_trial_when_another_changes_the_scores(kind):
    made, heard = network(), []
    classifier = wrap(made)
    made[0].register_forward_hook(lambda module, inputs, output: heard.append(output.detach().clone()))
    made[2].register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0].detach().clone()), prepend=True)
    made[2].register_forward_hook(LATE[kind])
    with pytest.warns(UserWarning, match="2 changes the network's scores"):
        classifier.scores(IMAGE)
    with torch.no_grad():
        expected = [made[0].forward(IMAGE), made[:2](IMAGE)]
    assert len(heard) >= 2
    assert all(any(one.shape == each.shape and one.equal(each) for each in expected) for one in heard)


def test_a_hook_that_writes_where_nobody_sees_it_takes_part_in_the_trial():
    made = network()
    classifier = wrap(made)
    made[2].register_forward_hook(doubled_behind_the_graph)
    with pytest.warns(UserWarning, match="2 changes the network's scores"):
        classifier.scores(IMAGE)
    assert without_listeners(made, lambda one: one(IMAGE.clone()), made(IMAGE.clone())) is made
