from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faltung import planning
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.unfold.api import fold, unfold

ALGORITHMS = [None, "native_torch", "slices_torch"]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
COMPLEX = [torch.complex64, torch.complex128]
ARGUMENTS: list[tuple[Any, ...]] = [
    ((2, 3),),
    (2,),
    ([2, 2],),
    (2, 1, 1, 2),
    ((3, 2), (1, 2), (2, 1), (2, 3)),
    (1, 1, 0, 3),
    ((4, 2), 1, (1, 0), (5, 1)),
]


def image(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.arange(torch.Size(shape).numel()) % 11 - 5
    if dtype.is_complex:
        return torch.complex(values.double(), -2 * values.double()).reshape(shape).to(dtype)
    return values.reshape(shape).to(dtype)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_equals_pytorch(algorithm: str | None, arguments: tuple[Any, ...]) -> None:
    x = image((2, 3, 5, 6))
    columns = F.unfold(x, *arguments)
    assert torch.equal(unfold(x, *arguments, algorithm=algorithm), columns)
    assert torch.equal(unfold(x[1], *arguments, algorithm=algorithm), columns[1])
    back = F.fold(columns, (5, 6), *arguments)
    assert torch.equal(fold(columns, (5, 6), *arguments, algorithm=algorithm), back)
    assert torch.equal(fold(columns[1], (5, 6), *arguments, algorithm=algorithm), back[1])


@pytest.mark.parametrize("dtype", [torch.bool, *FLOATS, *COMPLEX], ids=str)
def test_equals_pytorch_in_every_dtype_it_takes(dtype: torch.dtype) -> None:
    x = image((2, 3, 5, 6), dtype)
    columns = F.unfold(x, (2, 3), padding=1)
    assert columns.dtype == dtype
    for algorithm in ALGORITHMS if dtype != torch.bool else [None]:
        assert torch.equal(unfold(x, (2, 3), padding=1, algorithm=algorithm), columns)
        folded = fold(columns, (5, 6), (2, 3), padding=1, algorithm=algorithm)
        assert torch.equal(folded, F.fold(columns, (5, 6), (2, 3), padding=1))


def test_fold_of_an_integer_output_size_is_square() -> None:
    columns = image((2, 12, 9))
    assert torch.equal(fold(columns, 4, 2), F.fold(columns, 4, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64], ids=str)
def test_pytorchs_own_samples(dtype: torch.dtype) -> None:
    from torch.testing._internal.common_methods_invocations import op_db

    (info,) = (op for op in op_db if op.name == "nn.functional.unfold")
    count = 0
    for sample in info.sample_inputs("cpu", dtype):
        ours = unfold(sample.input, *sample.args, **sample.kwargs)
        assert torch.equal(ours, F.unfold(sample.input, *sample.args, **sample.kwargs))
        count += 1
    assert count > 10


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("shape", "kernel_size"), [((2, 3, 9), (4,)), ((2, 3, 5, 6), (2, 3)), ((1, 2, 3, 4, 5), 2)]
)
def test_padding_first_gives_the_same_columns(
    mode: str, shape: tuple[int, ...], kernel_size: Any
) -> None:
    x, dims = image(shape), len(shape) - 2
    pairs = ((1, 2), (0, 1), (2, 0))[:dims]
    ends = [end for pair in reversed(pairs) for end in pair]
    padded = F.pad(x, ends, mode="constant" if mode == "zeros" else mode)
    columns = unfold(x, kernel_size, padding=pairs, padding_mode=mode)
    assert torch.equal(columns, unfold(padded, kernel_size))
    assert columns.shape[-1] == unfold(x, kernel_size, padding=pairs).shape[-1]


@pytest.mark.parametrize(
    ("shape", "kernel_size"), [((1, 2, 9), (4,)), ((2, 3, 5, 6), (2, 3)), ((1, 2, 3, 4, 5), 2)]
)
@pytest.mark.parametrize("padding", [0, 1, "same", "same_lower"])
def test_fold_of_unfold_counts_the_windows(
    shape: tuple[int, ...], kernel_size: Any, padding: Any
) -> None:
    x = image(shape)
    ones = torch.ones(shape)
    counts = fold(unfold(ones, kernel_size, 1, padding), shape[2:], kernel_size, 1, padding)
    assert counts.min() >= 1
    assert counts.max() > 1
    again = fold(unfold(x, kernel_size, 1, padding), shape[2:], kernel_size, 1, padding)
    assert torch.equal(again, x * counts)


def test_same_keeps_the_number_of_positions() -> None:
    x = image((2, 3, 5, 6))
    for word in ("same", "same_lower"):
        assert unfold(x, (2, 3), padding=word).shape == (2, 18, 30)
        assert unfold(x, (2, 3), padding=word, stride=2).shape == (2, 18, 9)
    assert torch.equal(unfold(x, (2, 3), padding="valid"), F.unfold(x, (2, 3)))
    assert not torch.equal(unfold(x, 2, padding="same"), unfold(x, 2, padding="same_lower"))


def test_the_named_algorithm_runs_and_is_counted() -> None:
    x = image((1, 1, 3, 3))
    before = planning.usage()
    unfold(x, 2, algorithm="native_torch")
    unfold(x, 2, algorithm="slices_torch")
    unfold(x, 2, algorithm="slices_torch")
    counted = planning.usage() - before
    assert (counted["native_torch"], counted["slices_torch"]) == (1, 2)
    with pytest.raises(planning.NoAlgorithmError, match="pads with zeros only, not circular"):
        unfold(x, 2, padding=1, padding_mode="circular", algorithm="native_torch")


def test_says_what_is_wrong() -> None:
    with pytest.raises(ArgumentTypeError, match="unfold: input must be a tensor, got list"):
        unfold([1, 2], 1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="fold: input must be a tensor, got int"):
        fold(3, 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="1-D windows need kernel_size="):
        unfold(image((3, 4)), 2)
    with pytest.raises(ArgumentError, match="has 6 columns but output_size"):
        fold(image((2, 20, 6)), (3, 5), 2)
    with pytest.raises(ArgumentError, match="padding_mode must be one of"):
        unfold(image((1, 3, 4)), 2, padding_mode="constant")


def test_needs_no_numbers_for_shapes() -> None:
    x = torch.empty(2, 3, 5, 6, device="meta")
    columns = unfold(x, (2, 3), padding=((1, 0), (0, 2)), padding_mode="reflect")
    assert (columns.device.type, columns.shape) == ("meta", (2, 18, 30))
    assert fold(columns, (5, 6), (2, 3), padding=((1, 0), (0, 2))).shape == x.shape


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pairs", "dilation"),
    [
        ((7,), (3,), (2,), ((1, 2),), (2,)),
        ((5, 6), (2, 3), (1, 2), ((0, 1), (2, 0)), (2, 1)),
        ((3, 4, 5), (2, 1, 3), (1, 2, 1), ((1, 0), (0, 0), (0, 2)), (1, 1, 2)),
    ],
)
def test_equals_col2im_of_onnx(
    size: Any, kernel: Any, stride: Any, pairs: Any, dilation: Any
) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    taps = torch.Size(kernel).numel()
    shape = unfold(torch.zeros(2, 3, *size), kernel, dilation, pairs, stride).shape
    assert shape[1] == 3 * taps
    columns = image(tuple(shape))
    node = onnx.helper.make_node(
        "Col2Im", ["columns", "size", "kernel"], ["image"], strides=stride, dilations=dilation,
        pads=[low for low, _ in pairs] + [high for _, high in pairs],
    )  # fmt: skip
    feeds = {"columns": columns, "size": torch.tensor(size), "kernel": torch.tensor(kernel)}
    (expected,) = ReferenceEvaluator(node).run(None, {k: v.numpy() for k, v in feeds.items()})
    folded = fold(columns, size, kernel, dilation, pairs, stride)
    assert torch.equal(folded, torch.from_numpy(expected))
