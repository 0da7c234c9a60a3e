"""How each of PyTorch's operators passes on what has been seen of the input.

One function per kind of operator, found by the operator's name; operators that PyTorch itself
marks as pointwise need none. What has no rule is not guessed at: after it, only those axes are
known to have been seen that every position had seen whole before.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ...ops.operands import memory_layout
from .notes import Note, Padded, forgotten, merged, regrouped, settled
from .seen import Reach


@dataclass(frozen=True)
class Operation:
    """One operator as it ran: its name, arguments by name, results, and what is known of them."""

    name: str
    pointwise: bool
    arguments: dict[str, Any]
    results: tuple[Tensor, ...]
    notes: tuple[Note, ...]
    """Of the tensors among the arguments, in their order."""
    note: Callable[[Tensor], Note]

    @property
    def first(self) -> Note:
        """Of the first tensor."""
        return self.notes[0]

    def shape(self, number: int = 0) -> tuple[int, ...]:
        """Of a result."""
        return tuple(self.results[number].shape)


Rule = Callable[[Operation], Note]


def after(operation: Operation) -> tuple[Note, ...]:
    """What is known of each result."""
    learns = any(note.learns for note in operation.notes)
    if not operation.notes or operation.name in _FRESH:
        return tuple(Note.plain(result.shape) for result in operation.results)
    rule = _RULES.get(operation.name.removesuffix("_"))
    if rule is None and operation.pointwise:
        rule = _everywhere
    found = []
    for number, result in enumerate(operation.results):
        shape = tuple(result.shape)
        note = None
        if rule is not None and 0 not in shape:
            note = rule(operation) if number == 0 else _further(operation, rule, number)
        if note is None or note.shape != shape:
            note = forgotten(operation.notes, shape)
        found.append(replace(settled(note, operation.notes), learns=learns))
    return tuple(found)


def _further(operation: Operation, rule: Rule, number: int) -> Note:
    """Of a result after the first: parts of a split are alike, indices of a pool have its shape."""
    first = operation.results[0]
    alone = replace(operation, results=(operation.results[number], first))
    return rule(alone)


def _everywhere(op: Operation) -> Note:
    return merged(op.notes, op.shape())


def _batch_norm(op: Operation) -> Note:
    """Pointwise with kept statistics; else each channel is looked at as a whole."""
    note = merged(op.notes[:1], op.shape())
    if op.arguments.get("training") or op.arguments.get("use_input_stats"):
        return note.over([d for d in range(len(note.dimensions)) if d != 1])
    return note


def _group_norm(op: Operation) -> Note:
    return op.first.over(range(1, len(op.shape())))


def _layer_norm(op: Operation) -> Note:
    dims = len(op.shape())
    return op.first.over(range(dims - len(op.arguments["normalized_shape"]), dims))


def _along(op: Operation) -> Note:
    """Softmax and its kind: every position looks at all along one dimension."""
    return merged(op.notes[:1], op.shape()).over([op.arguments["dim"]])


def _halved(op: Operation) -> Note:
    dim = op.arguments["dim"]
    return op.first.with_dimension(dim, op.shape()[dim], None)


def _reduced(op: Operation) -> Note:
    """A sum, mean or greatest over dimensions, which are gone then or of size 1."""
    dims = len(op.first.dimensions)
    given = op.arguments.get("dim")
    listed = [given] if isinstance(given, int) else given
    over = sorted({d % dims for d in listed}) if listed else list(range(dims))
    note = op.first.over(over)
    kept = op.arguments.get("keepdim") is True
    dimensions = [d for number, d in enumerate(note.dimensions) if number not in over]
    if kept:
        for number in over:
            dimensions.insert(number, ((1, None),))
    return replace(note, dimensions=tuple(dimensions))


def _viewed(op: Operation) -> Note:
    return regrouped(op.first, op.shape())


def _transposed(op: Operation) -> Note:
    order = list(range(len(op.first.dimensions)))
    a, b = (0, -1) if op.name == "t" else (op.arguments["dim0"], op.arguments["dim1"])
    order[a], order[b] = order[b], order[a]
    return _ordered(op.first, order)


def _permuted(op: Operation) -> Note:
    return _ordered(op.first, op.arguments["dims"])


def _ordered(note: Note, order: Sequence[int]) -> Note:
    return replace(note, dimensions=tuple(note.dimensions[d] for d in order), padded=None)


def _sliced(op: Operation) -> Note:
    dim, start = op.arguments["dim"], op.arguments["start"] or 0
    if start < 0:
        start += op.first.shape[dim]
    size = op.shape()[dim]
    if size == op.first.shape[dim]:
        return op.first
    reach = Reach.of_window(1, op.arguments["step"], -start)
    return op.first.read(dim, size, reach)


def _selected(op: Operation) -> Note:
    dims = len(op.first.dimensions)
    dim = op.arguments["dim"] % dims
    kept = (d for number, d in enumerate(op.first.dimensions) if number != dim)
    return replace(op.first, dimensions=tuple(kept), padded=None)


def _split(op: Operation) -> Note:
    dim = op.arguments["dim"]
    return op.first.with_dimension(dim, op.shape()[dim], None)


def _concatenated(op: Operation) -> Note:
    dim = op.arguments["dim"]
    notes = [n.with_dimension(dim, op.shape()[dim], None) for n in op.notes if n.dimensions]
    return merged(notes, op.shape())


def _padded(op: Operation) -> Note:
    """Positions move by what is put before them."""
    ends = op.arguments.get("pad") or op.arguments["padding"]
    note, first = op.first, op.first.shape
    pairs = [(0, 0)] * len(first)
    for number in range(len(ends) // 2):
        pairs[-1 - number] = (ends[2 * number], ends[2 * number + 1])
    for dim, (low, high) in enumerate(pairs):
        if low or high:
            note = note.read(dim, op.shape()[dim], Reach.of_window(1, 1, low))
    zeros = op.name == "constant_pad_nd" and not op.arguments["value"]
    if zeros and len(first) > 2 and not any(map(any, pairs[:2])) and min(map(min, pairs)) >= 0:
        image = op.arguments["self"]
        note = replace(note, padded=Padded(first[2:], tuple(pairs[2:]), memory_layout(image)))
    return note


def _pooled(op: Operation) -> Note:
    """A pool's windows."""
    dims = int(op.name.partition("_pool")[2][0])
    kernel = _per_axis(op.arguments["kernel_size"], dims)
    stride = _per_axis(op.arguments["stride"], dims) or kernel
    low = _per_axis(op.arguments["padding"], dims)
    dilation = _per_axis(op.arguments.get("dilation", 1), dims)
    note = op.first
    for number in range(dims):
        dim = number - dims
        reach = Reach.of_window(kernel[number], stride[number], low[number], dilation[number])
        note = note.read(dim, op.shape()[dim], reach)
    return note


def _pooled_to(op: Operation) -> Note:
    """A pool to a given size: whole, or windows side by side, or of several sizes."""
    dims, note = len(op.arguments["output_size"]), op.first
    for dim in range(-dims, 0):
        before, after = note.shape[dim], op.shape()[dim]
        if after == 1:
            note = note.over([dim]).with_dimension(dim, 1, None)
        else:
            width = before // after
            even = before % after == 0
            note = note.read(dim, after, Reach.of_window(width, width, 0) if even else None)
    return note


def _enlarged(op: Operation) -> Note:
    """Interpolation by a whole factor, aligned by the pixels' centres."""
    note = op.first
    for dim in range(2, len(note.dimensions)):
        before, after = note.shape[dim], op.shape()[dim]
        note = note.read(dim, after, _interpolating(op, before, after))
    return note


def _interpolating(op: Operation, before: int, after: int) -> Reach | None:
    if before == after:
        return Reach.of_window(1, 1, 0)
    if op.name.startswith("upsample_nearest"):
        if before % after == 0:
            return Reach.of_window(1, before // after, 0)
        return Reach.of_copies(after // before) if after % before == 0 else None
    if after % before or op.arguments["align_corners"]:
        return None
    beyond = 1 if "bicubic" in op.name else 0
    return Reach.of_linear(after // before, beyond, 1 + beyond)


def _shuffled(op: Operation) -> Note:
    """Channels to pixels: every pixel `times` times."""
    times = op.arguments["upscale_factor"]
    note = op.first.with_dimension(-3, op.shape()[-3], None)
    for dim in (-2, -1):
        note = note.read(dim, op.shape()[dim], Reach.of_copies(times))
    return note


def _unshuffled(op: Operation) -> Note:
    """Pixels to channels: taken together, a position sees `times` pixels each way."""
    times = op.arguments["downscale_factor"]
    note = op.first.with_dimension(-3, op.shape()[-3], None)
    for dim in (-2, -1):
        note = note.read(dim, op.shape()[dim], Reach.of_window(times, times, 0))
    return note


def _product(op: Operation) -> Note:
    """A matrix product […, m, k]·[…, k, n]: all of k is seen."""
    left, right = (op.note(op.arguments[name]) for name in _FACTORS[op.name])
    outer = merged(
        [replace(n, dimensions=n.dimensions[:-2]) for n in (left, right)], op.shape()[:-2]
    )
    seen = left.over([-1]).whole | right.over([-2]).whole
    rows, columns = left.dimensions[-2], right.dimensions[-1]
    return replace(outer, dimensions=(*outer.dimensions, rows, columns), whole=seen)


def _attention(op: Operation) -> Note:
    """Every query sees all keys and values."""
    note, *others = (op.note(op.arguments[name]) for name in ("query", "key", "value"))
    whole = note.over([-1]).whole.union(*(n.over([-2, -1]).whole for n in others))
    return replace(note, whole=whole, padded=None).with_dimension(-1, op.shape()[-1], None)


def _per_axis(value: Any, dims: int) -> list[int]:
    """One number per axis from one, a list of one, a list of all, or an empty list."""
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


# what has the shape of a tensor and nothing of what is in it
_FRESH = (
    "new_ones", "new_zeros", "new_empty", "new_full", "new_empty_strided", "zeros_like",
    "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
)  # fmt: skip

_FACTORS = {
    "mm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "bmm": ("self", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}

_KINDS: dict[Rule, str] = {
    _everywhere: "hardswish _prelu_kernel native_dropout detach alias lift_fresh _to_copy expand "
    "contiguous copy native_channel_shuffle channel_shuffle rrelu_with_noise",
    _batch_norm: "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "cudnn_batch_norm _batch_norm_no_update _batch_norm_with_update",
    _group_norm: "native_group_norm",
    _layer_norm: "native_layer_norm _fused_rms_norm",
    _along: "_softmax _log_softmax",
    _halved: "glu",
    _reduced: "mean sum amax amin max min var std linalg_vector_norm norm logsumexp argmax prod",
    _viewed: "view _unsafe_view reshape unsqueeze squeeze _reshape_alias",
    _transposed: "t transpose",
    _permuted: "permute",
    _sliced: "slice",
    _selected: "select",
    _split: "split split_with_sizes unsafe_split",
    _concatenated: "cat",
    _padded: "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d",
    _pooled: "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices max_pool1d "
    "avg_pool1d avg_pool2d avg_pool3d",
    _pooled_to: "adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d",
    _enlarged: "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d "
    "upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d",
    _shuffled: "pixel_shuffle",
    _unshuffled: "pixel_unshuffle",
    _product: " ".join(_FACTORS),
    _attention: "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math",
}
_RULES = {name: rule for rule, names in _KINDS.items() for name in names.split()}


def product_macs(name: str, arguments: dict[str, Any]) -> int | None:
    """Multiply-adds of an operator that multiplies matrices; None for any other.

    A product [m, k]·[k, n] has m·k·n, attention two products for each query and key.
    """
    if name in _FACTORS:
        left, right = (arguments[key] for key in _FACTORS[name])
        return int(left.numel()) * int(right.shape[-1])
    if _RULES.get(name) is _attention:
        query, key, value = (arguments[part] for part in ("query", "key", "value"))
        pairs = math.prod(query.shape[:-1]) * key.shape[-2]
        return int(pairs * (query.shape[-1] + value.shape[-1]))
    return None
