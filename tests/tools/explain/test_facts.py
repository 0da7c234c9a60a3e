"""Every number of an explanation, counted again by hand on random layers."""

import itertools
import json
import math
import random

import pytest
import torch

from counting import multiply_adds, pairs_of_channels, random_spec, reads, windows
from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.explain import explain

LAYERS = [random_spec(random.Random(seed)) for seed in range(100)]


def value_of(text):
    """What a formula comes to: `= ⌊(5 + 1 − 2) / 2⌋ + 1` and `128·64/2·3 + 128`."""
    python = text.removeprefix("= ").replace("·", "*").replace("−", "-").replace(",", "")
    assert not set(python) - set("0123456789 ()+-*/⌊⌋")
    value = eval(python.replace("⌊", "floor(").replace("⌋", ")"), {"floor": math.floor})
    assert value == int(value)
    return int(value)


def shape_numbers(*shapes):
    return sum(torch.empty(shape, device="meta").numel() for shape in shapes)


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_sizes(spec):
    found = explain(spec)
    transposed = spec.task == "grad_input"
    for number, axis in enumerate(found.sizes):
        k, s, d = spec.kernel_size[number], spec.stride[number], spec.dilation[number]
        n, padding = spec.input_size[number], spec.padding[number]
        outputs = windows(n, k, s, padding, d)
        ends = (outputs, n) if transposed else (n, outputs)
        assert (axis.before, axis.after) == ends
        steps = [line for line in axis.formula[1:] if "=" in line]
        assert steps
        for line in steps:
            for side in line.removeprefix("= ").split(" = "):
                assert value_of(side) == axis.after
        if transposed:
            check_output_paddings(spec, number, axis)
        else:
            check_unread(spec, number, axis)


def check_unread(spec, number, axis):
    read = {i for _, _, i in reads(spec, number)}
    unread = [i for i in range(spec.input_size[number]) if i not in read]
    assert sorted(axis.facts["dropped"] + axis.facts["skipped"]) == unread
    n, (low, high) = spec.input_size[number], spec.padding[number]
    last = max(
        q * spec.stride[number] + t * spec.dilation[number] for q, t, _ in reads(spec, number)
    )
    assert axis.facts["left_over"] == n + low + high - 1 - last
    remarks = " ".join(axis.remarks)
    assert ("never read" in remarks) == bool(unread)
    assert ("drops nothing" in remarks) == (axis.facts["left_over"] == 0)


def check_output_paddings(spec, number, axis):
    """PyTorch itself says which output_padding gives which size."""
    k, s, d = spec.kernel_size[number], spec.stride[number], spec.dilation[number]
    low, high = spec.padding[number]
    x, w = torch.empty(1, 1, axis.before, device="meta"), torch.empty(1, 1, k, device="meta")
    assert len(axis.facts["output_paddings"]) == max(s, d)
    for extra, size in axis.facts["output_paddings"].items():
        whole = torch.conv_transpose1d(x, w, stride=s, output_padding=int(extra), dilation=d)
        assert whole.shape[-1] - low - high == size


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_a_checkerboard_is_said_where_there_is_one(kernel, stride, dilation):
    x, w = torch.ones(1, 1, 40), torch.ones(1, 1, kernel)
    stamped = torch.conv_transpose1d(x, w, stride=stride, dilation=dilation)[0, 0]
    counts = {int(count) for count in stamped[20:-20]}
    layer = torch.nn.ConvTranspose1d(1, 1, kernel, stride, dilation=dilation)
    remarks = " ".join(explain(layer, x).sizes[0].remarks)
    said = f"outputs get {' or '.join(map(str, sorted(counts)))} stamps: a checkerboard"
    assert (said in remarks) == ("checkerboard" in remarks) == (len(counts) > 1)


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_counts(spec):
    found = explain(spec)
    every, inside = multiply_adds(spec)
    x, w, y = spec.x_shape, spec.w_shape, spec.y_shape
    outputs = found.after[1]
    bias = [(outputs,)] if spec.bias else []
    parameters, macs, executed, moved, columns = found.counts
    assert parameters.value == shape_numbers(w, *bias)
    assert (macs.value, executed.value) == (every, inside)
    assert moved.value == 4 * shape_numbers(x, w, y, *bias)
    # im2col writes one number for every use of an input by one filter
    filters = spec.out_channels // spec.groups
    assert columns.value * filters == 4 * every
    assert found.intensity == 2 * inside / moved.value
    for count in found.counts:
        assert value_of(count.filled) == count.value
    assert found.bound.computing == 2 * inside / found.bound.peak
    assert found.bound.moving == moved.value / found.bound.bandwidth


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_shapes_are_those_that_the_module_makes(spec):
    found = explain(spec)
    if found.code.module is None:
        return
    layer = eval(found.code.module).to("meta")
    assert tuple(layer.weight.shape) == found.weight
    assert sum(p.numel() for p in layer.parameters()) == found.counts[0].value
    if spec.padding_mode == "zeros":
        assert tuple(layer(torch.empty(found.before, device="meta")).shape) == found.after


def sees(spec, axis, q):
    """Positions behind output q of a layer without borders."""
    k, s, d = spec.kernel_size[axis], spec.stride[axis], spec.dilation[axis]
    low = spec.padding[axis][0]
    if spec.task == "forward":
        return {q * s - low + t * d for t in range(k)}
    return {(q + low - t * d) // s for t in range(k) if (q + low - t * d) % s == 0}


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_field(spec):
    field = explain(spec).field
    for axis in range(spec.dims):
        phases = [sees(spec, axis, 60 + q) for q in range(6)]  # 6 is a multiple of every stride
        assert field.size[axis] == max(max(p) - min(p) + 1 if p else 0 for p in phases)
        moved = sees(spec, axis, 66)
        if phases[0]:
            assert field.jump[axis] * 6 == min(moved) - min(phases[0])
    channels = pairs_of_channels(spec)
    per_output = spec.in_channels if spec.task == "grad_input" else spec.out_channels
    assert field.channels == channels // per_output


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_relatives_and_tasks(spec):
    found = explain(spec)
    assert found.relatives[0].specs[0].groups == 1
    for form in found.relatives:
        assert form.macs == sum(multiply_adds(one)[0] for one in form.specs)
        assert form.executed == sum(multiply_adds(one)[1] for one in form.specs)
        weights = [one.w_shape for one in form.specs]
        biases = [one.result_shape[1:2] for one in form.specs if one.bias]
        assert form.parameters == shape_numbers(*weights, *biases)
        assert form.specs[-1].result_shape == found.after
    names = [task.name for task in found.tasks]
    assert names == ["forward", "gradient of the input", "gradient of the weight"]
    shapes = [task.spec.result_shape for task in found.tasks]
    assert shapes == [found.after, found.before, found.weight]
    for task in found.tasks:
        assert multiply_adds(task.spec)[0] == task.spec.macs == found.counts[1].value


@pytest.mark.parametrize("spec", LAYERS[:40], ids=str)
def test_the_pictures_count_right(spec):
    found = explain(spec)
    places = {f"{axis.place}s": number for number, axis in enumerate(found.sizes)}
    shown = [place for strip in found.strips for place in strip.place.split(" and ")]
    assert sorted(shown) == sorted(places)
    for strip in found.strips:
        axis = places[strip.place.split(" and ")[0]]
        met = [i for _, _, i in reads(spec, axis)]
        low, high = spec.padding[axis]
        around = range(-low, spec.input_size[axis] + high)
        assert strip.cut is None and [cell.position for cell in strip.cells] == list(around)
        for cell in strip.cells:
            assert cell.padding == (not 0 <= cell.position < spec.input_size[axis])
            assert cell.reads == (0 if cell.padding else met.count(cell.position))
        for window in strip.windows:
            k, s, d = (v[axis] for v in (spec.kernel_size, spec.stride, spec.dilation))
            assert window.taps == tuple(window.number * s - low + t * d for t in range(k))


def test_a_long_axis_is_cut_between_whole_windows():
    (strip,) = explain("forward n1 c1 o1 i300 k5 s3 p2 float32 cpu").strips
    assert [window.number for window in strip.windows] == [0, 1, 98, 99]
    shown = {cell.position for cell in strip.cells}
    assert all(set(window.taps) <= shown for window in strip.windows)
    before, left_out = strip.cut
    assert len(strip.cells) + left_out == 304
    assert strip.cells[before].position - strip.cells[before - 1].position == left_out + 1


@pytest.mark.parametrize("spec", LAYERS[:20], ids=str)
def test_json_has_the_same_numbers(spec):
    found = explain(spec)
    read = json.loads(json.dumps(found.facts()))
    assert (read["input"], read["output"]) == (list(found.before), list(found.after))
    assert [one["value"] for one in read["counts"]] == [one.value for one in found.counts]
    assert [one["output"] for one in read["axes"]] == list(found.after[2:])
    assert [one["algorithm"] for one in read["tasks"]] == [t.plan.algorithm for t in found.tasks]
    assert read["field"]["size"] == list(found.field.size)
    for one, form in itertools.zip_longest(read["relatives"], found.relatives):
        assert (one["multiply_adds"], one["parameters"]) == (form.macs, form.parameters)


@pytest.mark.parametrize(
    ("problem", "title"),
    [
        ("forward n1 c8 o8 i9x9 k3x3 float32 cpu", "2-D convolution, kernel size 3×3"),
        ("forward n1 c8 o4 i9 k1 float32 cpu", "1-D pointwise convolution, kernel size 1"),
        (
            "forward n1 c8 o8 i9 k3 p4+0 d2 g8 float32 cpu",
            "1-D depthwise causal dilated convolution, kernel size 3, dilation 2, 8 groups",
        ),
        (
            "grad_input n1 c8 o4 i9x9x9 k3x3x3 s2x1x2 g2 float32 cpu",
            "3-D transposed grouped convolution, kernel size 3×3×3, stride 2×1×2, 2 groups",
        ),
    ],
)
def test_titles(problem, title):
    assert explain(problem).title == title


def test_an_output_that_stops_early_says_so():
    axis = explain("forward n1 c2 o3 i8 k3 y3 float32 cpu").sizes[0]
    assert axis.formula[-1] == "= 6, of which the first 3 are wanted"


def test_a_gradient_of_the_weight_is_no_layer():
    with pytest.raises(ArgumentError, match="a layer is one of forward, grad_input"):
        explain(ConvSpec.parse("grad_weight n1 c2 o2 i9 k3 float32 cpu"))


def test_a_gradient_that_nothing_can_compute_is_left_out():
    found = explain("forward n1 c2 o3 i6x5 k3x3 int64 cpu")
    assert "gradient of the weight" not in [task.name for task in found.tasks]
