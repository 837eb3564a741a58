"""A twin is another tree with the same weights; modules inside it that torch has compiled are seen as before."""

import pytest
import torch
from no_trace import no_trace
from torch import nn

from deepinside_edu import Classifier, backward_ladder
from deepinside_edu.twin import twin, uncompiled


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


def compiled_part():
    made = network()
    made[0] = torch.compile(made[0], backend="eager")
    return made


def compiled_in_place():
    made = network()
    made[0].compile(backend="eager")
    made.compile(backend="eager")
    return made


FORMS = {
    "as it is": network,
    "compiled": lambda: torch.compile(network(), backend="eager"),
    "in parallel": lambda: nn.DataParallel(network()),
    "both": lambda: torch.compile(nn.DataParallel(network()), backend="eager"),
    "a compiled part": compiled_part,
    "compiled in place": compiled_in_place,
    "a graph of torch.fx": lambda: torch.fx.symbolic_trace(network()),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_layers_and_ladders_see_the_network_in_every_form(form):
    classifier = Classifier(FORMS[form](), list("abc"), size=(9, 9))
    plain = Classifier(network(), list("abc"), size=(9, 9))
    x = plain.noise()
    assert classifier.layers() == plain.layers()
    assert [layer.name for layer in plain.layers()] == ["0.0", "0.1", "1", "2", "3"]
    torch.testing.assert_close(classifier.scores(x), plain.scores(x))
    one, other = (backward_ladder(each, x, 1, ("gradient", "deconvnet", "guided")) for each in (classifier, plain))
    for rule in one.rules:
        torch.testing.assert_close(one["image"].r[rule], other["image"].r[rule])


def test_a_twin_shares_weights_and_nothing_else():
    made, seen = network(), []
    with no_trace(made):
        copy = twin(made, lambda name, module, other: seen.append((name, module, other)))
        copy[0][0].register_forward_hook(lambda m, x, y: y + 1)
        copy.register_parameter("extra", nn.Parameter(torch.zeros(1)))
        copy.train()
    assert [name for name, _, _ in seen] == ["0.0", "0.1", "0", "1", "2", "3", ""]
    assert all(module is made.get_submodule(name) and other is copy.get_submodule(name) for name, module, other in seen)
    assert copy[0][0].weight is made[0][0].weight
    assert uncompiled(made) is made


def test_a_module_used_twice_is_copied_once():
    relu = nn.ReLU()
    copy = twin(nn.Sequential(nn.Conv2d(3, 3, 1), relu, nn.Conv2d(3, 3, 1), relu), lambda *_: None)
    assert copy[1] is copy[3]
    assert copy[1] is not relu
