"""ONNX's backend tests: models with inputs and outputs that its own project publishes.

The published outputs are float32 numbers. A sum of n products rounds at most n·u/(1 − n·u) of its
sum of magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1), so
that far they may be from our float64 run; our float32 run then gets the error budget.
"""

import importlib
import re
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.backend.test.case import node
from onnx.backend.test.loader import load_model_tests

from faltung.tools.budget import Budget, assert_within, where_they_differ
from suites import onnx_backend
from suites.tally import spelled

KINDS = ("pytorch-converted", "pytorch-operator")  # besides single nodes
OURS = re.compile(r"\w*Conv\w*|Col2Im")  # operators
NAMED = re.compile(rf'"({OURS.pattern})"')  # in a file

# roundings of one deformed sample besides its four products: the position, its two distances to
# the pixel, the product of both, and the mask
SAMPLING = 8


def nodes():
    """The cases of single nodes; files that name none of our operators are left alone, as each
    computes its cases when it is imported, for five seconds in all."""
    for path in Path(node.__file__).parent.glob("*.py"):
        if NAMED.search(path.read_text()):
            importlib.import_module(f"{node.__name__}.{path.stem}")
    return list(node._NodeTestCases)


def load():
    """Every published case of which some node is a convolution, an unfold or a fold."""
    found = nodes() + [case for kind in KINDS for case in load_model_tests(kind=kind)]
    cases = {}
    for case in found:
        model = case.model or onnx.load(Path(case.model_dir, "model.onnx"))
        if any(OURS.fullmatch(node.op_type) for node in model.graph.node):
            cases[f"{case.kind}-{case.name.removeprefix('test_')}"] = case, model
    return dict(sorted(cases.items()))


PUBLISHED = load()
RUN = [name for name, (_, model) in PUBLISHED.items() if not onnx_backend.foreign(model)]
LEFT_OUT = [name for name in PUBLISHED if name not in RUN]


def data_sets(case):
    """Pairs of inputs and outputs, as tensors."""
    if case.data_sets is not None:
        for inputs, outputs in case.data_sets:
            yield [[onnx_backend.tensor_of(a) for a in arrays] for arrays in (inputs, outputs)]
        return
    for folder in sorted(Path(case.model_dir).glob("test_data_set_*")):
        yield [tensors_in(folder, "input"), tensors_in(folder, "output")]


def tensors_in(folder, prefix):
    count = len(list(folder.glob(f"{prefix}_*.pb")))
    protos = [onnx.load_tensor(folder / f"{prefix}_{i}.pb") for i in range(count)]
    return [onnx_backend.tensor_of(numpy_helper.to_array(proto)) for proto in protos]


def assert_published(y64, published, magnitude64, terms, u):
    """What is published is what float64 says, but for the rounding of so many terms."""
    allowed = terms * u / (1 - terms * u) * magnitude64
    if not bool(((published - y64).abs() <= allowed).all()):
        raise AssertionError(f"published output: {where_they_differ(y64, published)}")


@pytest.mark.parametrize("name", RUN)
def test_published_output(name, cases):
    published, model = PUBLISHED[name]
    deforms = any(node.op_type == "DeformConv" for node in model.graph.node)
    with cases("ONNX") as case:
        for inputs, outputs in data_sets(published):
            with case(f"{name}: {spelled(*inputs)}") as ran:
                (y,), (expected,) = onnx_backend.run(model, inputs), outputs
                factor = ran.error_factor()
                (y64,) = onnx_backend.run(model, inputs, torch.Tensor.double)
                (sums,) = onnx_backend.run(model, inputs, lambda t: t.double().abs())
                (terms,) = onnx_backend.run(model, inputs, lambda t: torch.ones_like(t.double()))
                terms = 4 * terms + SAMPLING if deforms else terms
                assert_published(y64, expected, sums, terms, torch.finfo(expected.dtype).eps / 2)
                assert_within(y, Budget(y64, sums, expected, factor))


def test_only_graphs_with_other_operators_are_left_out(cases):
    cases.leave_out("ONNX", len(LEFT_OUT))
    assert all(onnx_backend.foreign(PUBLISHED[name][1]) for name in LEFT_OUT)
    run = {node.op_type for name in RUN for node in PUBLISHED[name][1].graph.node}
    assert run >= {"Conv", "ConvTranspose", "DeformConv", "Col2Im"}
