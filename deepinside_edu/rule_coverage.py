"""Where deconvnet and guided have a meaning: which of torch's operations hand R on as back-propagation does."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from torch.autograd.function import BackwardCFunction

LINEAR = {
    "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "Add", "Alias", "AsStrided", "AvgPool2D", "AvgPool3D", "BlockDiag",
    "Cat", "ChannelShuffle", "Clone", "Col2Im", "Complex", "Conj", "ConjPhysical", "ConstantPadNd", "Copy", "Cumsum",
    "Deg2Rad", "DiagEmbed", "Diagonal", "DiagonalScatter", "Expand", "FftC2C", "FftC2R", "FftR2C", "Fill", "Flip",
    "Gather", "Im2Col", "Index", "IndexAdd", "IndexCopy", "IndexFill", "IndexPut", "IndexSelect", "MaskedFill",
    "MaskedScatter", "MaskedSelect", "MaxUnpool2D", "MaxUnpool3D", "Mean", "NanToNum", "Nansum", "NarrowCopy", "Neg",
    "NegView", "Permute", "PixelShuffle", "PixelUnshuffle", "Put", "Rad2Deg", "ReflectionPad1D", "ReflectionPad2D",
    "ReflectionPad3D", "Repeat", "ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D", "Reshape", "ReshapeAlias",
    "Roll", "Rot90", "Rsub", "Scatter", "ScatterAdd", "Select", "SelectScatter", "Slice", "SliceScatter", "Split",
    "SplitWithSizes", "Squeeze", "Stack", "Sub", "Sum", "T", "Take", "ToCopy", "Trace", "Transpose", "Tril", "Triu",
    "Unbind", "Unfold", "UnsafeSplit", "UnsafeView", "Unsqueeze", "UpsampleBicubic2D", "UpsampleBicubic2DAa",
    "UpsampleBilinear2D", "UpsampleBilinear2DAa", "UpsampleLinear1D", "UpsampleNearest1D", "UpsampleNearest2D",
    "UpsampleNearest3D", "UpsampleNearestExact1D", "UpsampleNearestExact2D", "UpsampleNearestExact3D",
    "UpsampleTrilinear3D", "View", "ViewAsComplex", "ViewAsReal", "Where", "Zero",
}  # fmt: skip
"""Operations that are linear in all of their inputs together: they hand R on as back-propagation does, under every
rule. Indices and masks do not count as inputs; those that are made of the image are marked as "hidden"."""

LINEAR_IN: dict[str, tuple[set[int], ...]] = {
    **dict.fromkeys(("Bmm", "Dot", "LinalgCross", "Mm", "Mul", "Mv", "Vdot"), ({0}, {1})),
    **dict.fromkeys(
        ("Convolution", "CudnnConvolution", "MkldnnConvolution", "MpsConvolution", "Linear", "CudnnBatchNorm",
         "MiopenBatchNorm", "NativeBatchNorm"), ({0, 2}, {1, 2})),
    **dict.fromkeys(("Addbmm", "Addcmul", "Addmm", "Addmv", "Addr", "Baddbmm"), ({0, 1}, {0, 2})),
    "Addcdiv": ({0, 1},), "Div": ({0},), "GridSampler2D": ({0},), "GridSampler3D": ({0},),
    "CudnnGridSampler": ({0},), "Lerp": ({0, 1}, {2}), "Trilinear": ({0}, {1}, {2}),
}  # fmt: skip
"""Products and the like: linear as long as the image changes only the inputs of one of these groups."""

PICKING = {
    "AdaptiveMaxPool2D", "AdaptiveMaxPool3D", "FractionalMaxPool2D", "FractionalMaxPool3D", "MaxPool2D",
    "MaxPool2DWithIndices", "MaxPool3DWithIndices",
}  # fmt: skip
"""Operations that pick some values of each map by their size: R goes to where these came from, under every rule."""

PICKING_ALONG = {"Amax", "Amin", "Kthvalue", "Max", "Median", "Min", "Nanmedian", "Sort", "Topk"}
"""Likewise, if they look along rows and columns (`_is_pooling`)."""

SUMS = {
    "add", "cat", "column_stack", "concat", "concatenate", "dstack", "hstack", "iadd", "isub", "radd", "row_stack",
    "rsub", "stack", "sub", "subtract", "vstack",
}  # fmt: skip
"""Functions whose way back does not depend on the values of their terms."""

OF_A_SHAPE = {
    "empty_like", "full_like", "new_empty", "new_full", "new_ones", "new_tensor", "new_zeros", "ones_like", "rand_like",
    "randn_like", "zeros_like",
}  # fmt: skip
"""Functions that take only the shape of their tensor."""

RELU = "relu"
"""Stands for the node of a ReLU of ours, in the metadata of its node and of one that wrote to a part of a tensor."""


class Finding(NamedTuple):
    """What is known of a node of the graph.

    Attributes:
        reaches: whether the image lies below it.
        strange: on the way down from it, the lowest operation for which a ReLU rule says nothing: its layer and its
            name; None if there is none.
    """

    reaches: bool
    strange: tuple[str, str] | None


class RuleCoverage:
    """Judges the nodes of one graph, and remembers what it found.

    Args:
        image: the node of the image. Each node's metadata say in which "layer" it ran, which operation it hides
            "inside" of a copy, and whether a "hidden" mask that was made of the image takes part in it.
    """

    def __init__(self, image: Any) -> None:
        self._known = {image: Finding(True, None)}

    def judge(self, top: Any) -> Finding:
        """Walk down from a node to the image, without recursion: networks are deeper than Python's stack."""
        stack = [(top, "the network's own forward", False)]
        while stack:
            node, layer, back = stack.pop()
            if node in self._known:
                continue
            layer = node.metadata.get("layer", layer)
            below = [each for each, _ in node.next_functions]
            if back:
                findings = [self._known[each] if each else Finding(False, None) for each in below]
                self._known[node] = _judge(node, layer, findings)
            else:
                stack.append((node, layer, True))
                stack += [(each, layer, False) for each in below if each and each not in self._known]
        return self._known[top]


def _judge(node: Any, layer: str, below: list[Finding]) -> Finding:
    ways = [each.reaches for each in below]
    strange = next((each.strange for each in below if each.strange), None)
    inside = node.metadata.get("inside") or node  # if an operation wrote to a part of a tensor, its own node
    if strange or not any(ways) or inside is RELU:
        return Finding(any(ways), strange)
    operation = operation_of(inside)
    changed = {position for position, way in enumerate(ways) if way}
    linear = operation in LINEAR or any(changed <= group for group in LINEAR_IN.get(operation, ()))
    picking = operation in PICKING or (operation in PICKING_ALONG and _is_pooling(inside))
    # A batch norm may use the image's own statistics, and a quotient may be rounded.
    other = getattr(inside, "_saved_training", False) or getattr(inside, "_saved_rounding_mode", None)
    # A Function written in Python may have any name.
    if isinstance(inside, BackwardCFunction) or other or not (linear or picking):
        return Finding(True, (layer, operation))
    if node.metadata.get("hidden", False):
        return Finding(True, (layer, f"{operation} by a mask made of the image"))
    return Finding(True, None)


def operation_of(node: Any) -> str:
    """Name the operation that a node of the graph is the way back of."""
    return "" if node is None else re.sub(r"Backwards?\d*(_copy)?$", "", node.name().rpartition("::")[2])


def _is_pooling(node: Any) -> bool:
    """Whether values are picked along rows and columns, and not among several maps, as a ReLU could be written too."""
    dims = getattr(node, "_saved_dim", ())
    rank = len(node._saved_self_sym_sizes) if hasattr(node, "_saved_self_sym_sizes") else node._saved_self.ndim
    dims = dims if isinstance(dims, (tuple, list)) else (dims,)
    return rank == 4 and bool(dims) and {(dim - 2**64 if dim >= 2**63 else dim) % rank for dim in dims} <= {2, 3}
