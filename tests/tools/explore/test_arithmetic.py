"""What the page computes is what the definition says, in a real browser, on random layers."""

import itertools

import pytest
import torch
from torch.nn import functional as F

import faltung
from faltung import receptive_field
from faltung.tools.counts import relatives
from tools.explore.conftest import Page
from tools.explore.layers import Layer, layers

COUNT = 420
DEPTHS = (1, 2, 3)

ASK = """
return arguments[0].map((state) => {
  const { App, costsOf, fieldOf, relativesOf, linesOf } = window.faltung;
  const { torchLine, faltungLine, program } = window.faltung;
  const app = new App(state);
  if (app.problems.length) return { problems: app.problems };
  const { layer } = app;
  return {
    problems: [], shape: layer.yShape, y: Array.from(app.y), source: Array.from(layer.source),
    costs: costsOf(layer), relatives: relativesOf(layer),
    fields: arguments[1].map((depth) => fieldOf(layer, depth)),
    torch: torchLine(layer), faltung: faltungLine(layer), lines: linesOf(layer),
    program: program(layer, app),
  };
});
"""


@pytest.fixture(scope="module")
def found(_page: Page) -> list[tuple[Layer, dict]]:
    asked = layers(COUNT, seed=7)
    answers = _page.open().run(ASK, [layer.state for layer in asked], DEPTHS)
    return list(zip(asked, answers, strict=True))


@pytest.fixture(scope="module")
def possible(found) -> list[tuple[Layer, dict]]:
    return [(layer, answer) for layer, answer in found if layer.spec is not None]


def test_the_layers_are_many_and_of_every_kind(possible):
    states = [layer.state for layer, _ in possible]
    assert len(states) >= 200
    for key in ("dims", "transposed", "word", "mode", "groups", "bias"):
        seen = {state[key] for state in states}
        expected = {
            "dims": {1, 2, 3}, "transposed": {True, False}, "groups": {1, 2, 3},
            "word": {"", "valid", "same", "same_lower", "causal"}, "bias": {True, False},
            "mode": {"zeros", "reflect", "replicate", "circular"},
        }[key]  # fmt: skip
        assert seen == expected
    assert any(any(state["extra"]) for state in states)


def test_what_the_library_refuses_the_page_refuses_in_a_sentence(found):
    for layer, answer in found:
        assert bool(answer["problems"]) == (layer.spec is None), (layer.state, answer["problems"])
        for problem in answer["problems"]:
            assert len(problem.split()) >= 6


def test_results_are_those_of_the_definition_to_the_bit(possible):
    for layer, answer in possible:
        y = torch.tensor(answer["y"], dtype=torch.float64).view(answer["shape"])
        assert torch.equal(y, layer.result()), layer.state


def test_the_index_map_is_the_library_s(possible):
    for layer, answer in possible:
        spec = layer.spec
        windows = itertools.product(*map(range, spec.output_size))
        taps = list(itertools.product(*map(range, spec.kernel_size)))
        flat = iter(answer["source"])
        for q, t in itertools.product(windows, taps):
            place = spec.source(q, t)
            expected = -1
            if place is not None:
                expected = 0
                for p, n in zip(place, spec.input_size, strict=True):
                    expected = expected * n + p
            assert next(flat) == expected


def test_costs_are_the_library_s(possible):
    for layer, answer in possible:
        spec, costs = layer.spec, answer["costs"]
        assert costs["parameters"] == spec.parameters
        assert costs["macs"] == spec.macs
        assert costs["executed"] == spec.executed_macs
        assert 2 * costs["bytes"] == spec.bytes  # the page counts float32, the spec is float64
        assert 2 * costs["im2colBytes"] == spec.im2col_bytes
        assert costs["intensity"] == 2 * spec.intensity


def test_relatives_are_the_library_s(possible):
    names = {"dense": "dense", "depthwise": "depthwise", "depthwise-separable": "separable"}
    seen = set()
    for layer, answer in possible:
        forms = {name: tuple(counts) for name, *counts in answer["relatives"]}
        for relative in relatives(layer.spec):
            name = names.get(relative.name, f"{layer.spec.groups} groups")
            if name in forms or relative.name in names:
                assert forms[name] == (relative.parameters, relative.macs), layer.state
                seen.add(name)
    assert {"dense", "depthwise", "separable", "2 groups"} <= seen


def test_receptive_fields_are_the_library_s(possible):
    for layer, answer in possible:
        state = layer.state
        if state["channels"] != state["outputs"]:
            continue
        for depth, axes in zip(DEPTHS, answer["fields"], strict=True):
            field = receptive_field([layer.spec] * depth)
            assert tuple(axis["size"] for axis in axes) == field.size
            for axis, jump, start in zip(axes, field.jump, field.start, strict=True):
                # the page computes with floats; thirds of thirds are not exact in them
                assert axis["jump"] == pytest.approx(float(jump))
                assert axis["start"] == pytest.approx(float(start))


def test_the_lines_of_code_compute_the_same(possible):
    without = set()
    for layer, answer in possible:
        x, w, b = layer.tensors
        names = {"x": x, "w": w, "b": b, "F": F, "faltung": faltung}
        expected = layer.result()[None]
        with faltung.using(algorithm="native_torch"):  # compiles nothing
            assert torch.equal(eval(answer["faltung"], names), expected), answer["faltung"]
        if answer["torch"].startswith("#"):
            without.add((layer.state["transposed"], layer.state["mode"], layer.state["word"]))
        else:
            assert torch.equal(eval(answer["torch"], names), expected), answer["torch"]
    # only what PyTorch really has not: padding modes of transposed layers, gaps, many times around
    for transposed, mode, word in without:
        assert mode == "circular" or (transposed and (mode != "zeros" or "same" in word))


def test_the_loop_nest_runs_as_it_stands_and_computes_the_same(possible):
    small = [pair for pair in possible if len(pair[1]["source"]) * len(pair[1]["y"]) < 6000]
    assert len(small) > 80
    for layer, answer in small:
        x, w, b = layer.tensors
        y = torch.full(answer["shape"], torch.nan, dtype=torch.float64)
        text = "\n".join("    " * depth + line for _, depth, line in answer["lines"])
        arrays = {
            "x": x[0].numpy(), "w": w.numpy(), "b": None if b is None else b.numpy(),
            "y": y.numpy(),
        }  # fmt: skip
        exec(text, arrays)
        assert torch.equal(y, layer.result()), text


def test_the_program_to_copy_runs(possible, capsys):
    for layer, answer in possible[:12]:
        exec(answer["program"], {})
        assert capsys.readouterr().out == f"{layer.result()[None]}\n"
