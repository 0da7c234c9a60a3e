"""An ONNX backend of four operators: their attributes said in the words of our functions.

Attributes as in the operator specifications (onnx.ai/onnx/operators): Conv, ConvTranspose,
DeformConv and Col2Im. A graph of other operators is not ours to run; `foreign` names them.
"""

import onnx
import torch
from onnx import numpy_helper

import faltung.functional as ours

CONV = {1: ours.conv1d, 2: ours.conv2d, 3: ours.conv3d}
CONV_TRANSPOSE = {1: ours.conv_transpose1d, 2: ours.conv_transpose2d, 3: ours.conv_transpose3d}


def run(model, inputs, number=lambda tensor: tensor):
    """The outputs of a model; `number` is applied to every operand of a product or a sum."""
    graph = model.graph
    values = {"": None}  # the name of an input that is left out
    values.update({t.name: tensor_of(numpy_helper.to_array(t)) for t in graph.initializer})
    free = [i.name for i in graph.input if i.name not in values]
    values.update(zip(free, inputs, strict=True))
    for node in graph.node:
        operands = [values[name] for name in node.input]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](number, operands, attributes)
    return [values[output.name] for output in graph.output]


def foreign(model):
    """The operators of a model that this backend has not, by name."""
    return sorted({node.op_type for node in model.graph.node} - set(OPERATORS))


def tensor_of(array):
    return torch.from_numpy(array.copy())


def _conv(number, operands, attributes):
    x, w, *b = (None if t is None else number(t) for t in operands)
    dims = w.dim() - 2
    return CONV[dims](
        x, w, *b, stride=_per_axis(attributes, "strides", dims), padding=_padding(attributes, dims),
        dilation=_per_axis(attributes, "dilations", dims), groups=attributes.get("group", 1),
    )  # fmt: skip


def _conv_transpose(number, operands, attributes):
    x, w, *b = (None if t is None else number(t) for t in operands)
    dims = w.dim() - 2
    padding, extra = _padding(attributes, dims), attributes.get("output_padding", [0] * dims)
    if "output_shape" in attributes:
        padding, extra = _for_output_shape(x, w, attributes, extra)
    return CONV_TRANSPOSE[dims](
        x, w, *b, stride=_per_axis(attributes, "strides", dims), padding=padding,
        output_padding=extra, groups=attributes.get("group", 1),
        dilation=_per_axis(attributes, "dilations", dims),
    )  # fmt: skip


def _deform_conv(number, operands, attributes):
    x, w, offset, b, mask = (*operands, None, None)[:5]
    x, w, b, mask = (None if t is None else number(t) for t in (x, w, b, mask))
    offset = offset.to(x.dtype)  # positions: neither factor nor term
    per_tap = 2 * w.shape[2] * w.shape[3]
    assert offset.shape[1] == attributes.get("offset_group", 1) * per_tap
    assert x.shape[1] == attributes.get("group", 1) * w.shape[1]
    return ours.deform_conv2d(
        x, offset, w, b, _per_axis(attributes, "strides", 2), _padding(attributes, 2),
        _per_axis(attributes, "dilations", 2), mask,
    )  # fmt: skip


def _col2im(number, operands, attributes):
    columns, image, block = operands
    dims = len(block)
    return ours.fold(
        number(columns), image.tolist(), block.tolist(),
        dilation=_per_axis(attributes, "dilations", dims), padding=_padding(attributes, dims),
        stride=_per_axis(attributes, "strides", dims),
    )  # fmt: skip


def _per_axis(attributes, name, dims):
    return attributes.get(name, [1] * dims)


def _padding(attributes, dims):
    """All the starts, then all the ends; or how to find them."""
    automatic = attributes.get("auto_pad", b"NOTSET").decode()
    if automatic != "NOTSET":
        return {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}[automatic]
    pads = attributes.get("pads", [0] * 2 * dims)
    return tuple(zip(pads[:dims], pads[dims:], strict=True))


def _for_output_shape(x, w, attributes, extra):
    """Padding and output_padding that give the output shape a model asks for."""
    dims = w.dim() - 2
    upper = attributes.get("auto_pad", b"NOTSET") == b"SAME_UPPER"
    padding, missing = [], []
    for axis, wanted in enumerate(attributes["output_shape"][-dims:]):
        stride, dilation = (
            _per_axis(attributes, name, dims)[axis] for name in ("strides", "dilations")
        )
        reach = (x.shape[2 + axis] - 1) * stride + dilation * (w.shape[2 + axis] - 1) + 1
        total = reach + extra[axis] - wanted
        small, large = max(total, 0) // 2, max(total, 0) - max(total, 0) // 2
        padding.append((small, large) if upper else (large, small))
        missing.append(extra[axis] + max(-total, 0))
    return tuple(padding), missing


OPERATORS = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DeformConv": _deform_conv,
    "Col2Im": _col2im,
    "Constant": lambda number, operands, attributes: tensor_of(
        numpy_helper.to_array(attributes["value"])
    ),
}
