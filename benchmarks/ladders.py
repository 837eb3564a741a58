"""Ladders as ratios: three rules beside captum's methods, and a neuron of every layer beside captum's neuron methods.

captum: `pip install --no-deps captum`; without it, the only ratios are those to plain passes.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch

import deepinside_edu as di
from deepinside_edu.backward_by_hand import RULES

from .cases import classifier
from .speed import PHOTO, RATIO_HEADER, plain_network, ratio_row
from .table import show
from .timing import in_turn


def rows() -> list[list[str]]:
    ours, plain = classifier(), plain_network()
    picture = di.photo(PHOTO)
    c = ours.find(picture.wordnet_id)
    x = ours.prepare(picture)
    x_plain = x.contiguous()
    recording = di.record(ours, x)

    def floor() -> torch.Tensor:
        leaf = x_plain.clone().requires_grad_()
        return torch.autograd.grad(plain(leaf)[0, c], leaf)[0]

    def three_rules(layers: str | None = "image") -> object:
        return di.backward_ladder(ours, x, c, RULES, layers)

    neurons = [di.Neuron(layer.name, 0, "sum") for layer in recording.layers if layer.relu]

    def each_layer(rule: str) -> object:
        kept = di.record(ours, x, [neuron.layer for neuron in neurons])
        return [di.descend(kept, neuron, rule, "image")["image"].r[rule] for neuron in neurons]

    every = f"deconvnet from a neuron in each of {len(neurons)} ReLU layers"
    table = [
        ratio_row("three rules, R of the image", "floor", in_turn(three_rules, floor, 20), None),
        ratio_row("three rules, R of every layer", "floor", in_turn(partial(three_rules, None), floor, 20), None),
        ratio_row("one rule more from a recording", "floor",
                  in_turn(partial(di.descend, recording, c, "deconvnet"), floor, 20), None),
        ratio_row(every, "floor", in_turn(partial(each_layer, "deconvnet"), floor, 7), None),
    ]  # fmt: skip
    if find_spec("captum"):
        table += beside_captum(plain, x_plain, c, three_rules, each_layer, every, [each.layer for each in neurons])
    else:
        print("\nNo comparison with captum: pip install --no-deps captum")
    return table


def beside_captum(
    plain: torch.nn.Module,
    x: torch.Tensor,
    c: int,
    three_rules: Callable[[], object],
    each_layer: Callable[[str], object],
    every: str,
    layers: list[str],
) -> list[list[str]]:
    from captum.attr import Deconvolution, GuidedBackprop, NeuronDeconvolution, NeuronGuidedBackprop, Saliency

    def leaf() -> torch.Tensor:
        return x.clone().requires_grad_()

    def two_methods_and_a_gradient() -> object:
        return [
            Saliency(plain).attribute(leaf(), target=c, abs=False),
            Deconvolution(plain).attribute(leaf(), target=c),
            GuidedBackprop(plain).attribute(leaf(), target=c),
        ]

    def neurons(method: type) -> object:
        methods = [method(plain, plain.get_submodule(name)) for name in layers]
        return [each.attribute(leaf(), neuron_selector=lambda out: out[:, 0].sum((1, 2))) for each in methods]

    return [
        ratio_row("three rules, R of the image", "captum: gradient, Deconvolution, GuidedBackprop",
                  in_turn(three_rules, two_methods_and_a_gradient, 15), 0.5),
        ratio_row(every, "captum: NeuronDeconvolution of each",
                  in_turn(partial(each_layer, "deconvnet"), partial(neurons, NeuronDeconvolution), 5), 0.3),
        ratio_row(every.replace("deconvnet", "guided"), "captum: NeuronGuidedBackprop of each",
                  in_turn(partial(each_layer, "guided"), partial(neurons, NeuronGuidedBackprop), 5), 0.3),
    ]  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    show("Ladders: CPU time in one thread, pairs in turn", RATIO_HEADER, rows())


if __name__ == "__main__":
    main()
