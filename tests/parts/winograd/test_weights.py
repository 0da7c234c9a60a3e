"""The transformed weight, number by number."""

import itertools

import pytest
import torch

from faltung.by_hand import cook_toom
from faltung.parts.winograd.problem import Cutting, Layout, Problem
from faltung.parts.winograd.tiles import PlainAxis
from faltung.parts.winograd.transforms import points
from faltung.parts.winograd.weights import Filters
from winograd_running import transformed_weight


def matrix(m: int, r: int) -> torch.Tensor:
    """G of the teaching version, for the same points."""
    if m == 1:
        return torch.eye(r, dtype=torch.float64)
    _, g, _ = cook_toom(m, r, points(m + r - 2))
    return torch.tensor([[float(entry) for entry in row] for row in g], dtype=torch.float64)


def lying(problem: Problem, w: torch.Tensor, way: str) -> tuple[torch.Tensor, Filters]:
    """The filters [groups · outputs, inputs, D, H, W] as they may lie in memory."""
    inputs, outputs, taps = problem.inputs, problem.outputs, w[0, 0].numel()
    turned, last = way.startswith("mirrored"), way.endswith("channels last")
    if turned:
        apart = w.reshape(-1, outputs, *w.shape[1:])
        w = apart.transpose(1, 2).flip(3, 4, 5).reshape(-1, outputs, *w.shape[2:])
        inputs, outputs = outputs, inputs
    one, numbers = inputs * taps, w.numel()
    tap, channel = (inputs, 1) if last else (1, taps)
    w = w.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)
    if turned:
        return w, Filters(numbers, outputs * one, channel, one, tap, backwards=True)
    return w, Filters(numbers, outputs * one, one, channel, tap)


WAYS = ["contiguous", "channels last", "mirrored contiguous", "mirrored channels last"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("outputs", [(4, 3), (2, 1)])
@pytest.mark.parametrize("channels", [(3, 2), (2, 4), (7, 13), (1, 20)])
def test_where_each_number_lies(
    channels: tuple[int, int], outputs: tuple[int, int], dtype: str, way: str
) -> None:
    lanes, vectors, chunk = 4, 2, 4
    depth, high, wide = PlainAxis(3, 3, 2), PlainAxis(6, 6, 3), PlainAxis(9, 9, 5 - outputs[0] // 2)
    problem = Problem(1, 2, *channels, depth, high, wide, dtype, last=False)
    layout = Layout(problem, Cutting(lanes, outputs, 1, 1, 1, 1, vectors, chunk))
    w = torch.randn(2 * channels[1], channels[0], 2, 3, wide.taps).to(getattr(torch, dtype))
    made = transformed_weight(layout, *lying(problem, w, way))
    assert made.numel() == layout.weights
    assert made.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    flat = made.reshape(-1)
    g_high, g_wide = matrix(outputs[0], 3), matrix(outputs[1], wide.taps)
    right = g_high @ w.double() @ g_wide.T  # [O, C, depth, n, n]
    # Higham's bound for both sums of rounded products, in float64; and one rounding
    magnitude = g_high.abs() @ w.double().abs() @ g_wide.abs().T
    steps = 2 * (3 + wide.taps + 2)
    unit = 0.0 if dtype == "float64" else torch.finfo(made.dtype).eps / 2
    slack = steps * torch.finfo(torch.float64).eps * magnitude + unit * right.abs()
    shape = (2, layout.chunks, layout.products, chunk // vectors, 2, channels[0], vectors * lanes)
    for place, index in enumerate(itertools.product(*map(range, shape))):
        group, some, product, tile, tap, c, lane = index
        vector = some * chunk + tile * vectors + lane // lanes
        if vector * lanes >= channels[1]:
            continue  # a vector that is not there
        o = min(vector * lanes, max(channels[1] - lanes, 0)) + lane % lanes
        if o >= channels[1]:
            continue
        row, column = divmod(product, len(g_wide))
        at = (group * channels[1] + o, c, tap, row, column)
        assert abs(flat[place].double() - right[at]) <= slack[at], index


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("taps", "m"), [(7, 4), (11, 3)])
def test_parts_follow_each_other(taps: int, m: int, way: str) -> None:
    one, wide, lanes = PlainAxis(), PlainAxis(40, 40, taps), 4
    problem = Problem(1, 1, 5, 8, one, one, wide, "float32", last=False)
    layout = Layout(problem, Cutting(lanes, (1, m), 1, 1, 1, 1, vectors=2, chunk=2))
    parts, w = -(-taps // m), torch.randn(8, 5, 1, 1, taps)
    made = transformed_weight(layout, *lying(problem, w, way)).view(2 * m - 1, parts, 5, 8)
    filled = torch.nn.functional.pad(w.double(), (0, parts * m - taps)).view(8, 5, parts, m)
    right = torch.einsum("nk,ocpk->npco", matrix(m, m), filled)
    magnitude = torch.einsum("nk,ocpk->npco", matrix(m, m).abs(), filled.abs())
    slack = 2 * m * torch.finfo(torch.float64).eps * magnitude
    slack += torch.finfo(torch.float32).eps / 2 * right.abs()
    assert ((made.double() - right).abs() <= slack).all()
