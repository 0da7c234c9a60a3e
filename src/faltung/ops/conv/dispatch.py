"""One call: operands and arguments -> remembered spec and plan -> result.

The common case is a layer called again with the same kind of input: what is remembered of its
weight says at once which routine runs. Else a key is made of everything that the spec is made of,
and a dictionary has the plan. Only a miss there checks the arguments, makes a spec and plans.
Differentiation goes through `autograd`, which plans each task by itself. Whoever traces the call,
transforms it or watches PyTorch's operators gets one (`operator`). A call with a residual takes a
way of its own to the same places, so that the others need not look for one.
"""

from dataclasses import replace
from operator import is_
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ... import planning, settings
from ..operands import alike, checked, lies, memory_layout, plain_memory, under_autocast
from ..tracing import is_traced
from .arguments import (
    check_residual,
    conv_fields,
    conv_spec,
    conv_transpose_fields,
    conv_transpose_spec,
)
from .autograd import differentiable
from .operator import arguments_of_call, call_operator

# stride, padding, output_padding, dilation, groups, padding_mode, activation, algorithm
_Arguments = tuple[Any, Any, Any, Any, Any, Any, Any, Any]

# plans by all that they depend on, and what was last put into the table below for them
_Entry = tuple[Any, ...]
_ready: dict[Any, tuple[planning.Plan, _Entry | None]] = {}
_MOST_READY = 4096  # as many as there are plans; see planning

# by the identity of the weight, which is only where to look: the check of each entry decides; its
# complement leads to the calls with a residual, whose entries have other parts
_recent: dict[int, tuple[_Entry, ...]] = {}
_MOST_RECENT = 4096
_GRADED, _CHECK = -4, -3  # where an entry has its grad mode and the check of its operands
_RECENT_OF_A_WEIGHT = 8  # a detector's head sees five image sizes in turn

# asked at every call, so without a way through modules
_is_compiling = torch.compiler.is_dynamo_compiling
_is_grad_enabled = torch.is_grad_enabled
_modes = torch._C._len_torch_dispatch_stack
_tracing = torch._C._get_tracing_state
_set_tracing = torch._C._set_tracing_state  # type: ignore[attr-defined]
_threads = torch.get_num_threads
_knobs = settings.current


def convolve(
    call: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
    activation: Any,
    algorithm: Any,
    residual: Tensor | None = None,
) -> Tensor:
    """The result of a call to `conv{n}d`, whose `output_padding` is 0, or `conv_transpose{n}d`."""
    if residual is not None or _is_compiling():
        arguments = (stride, padding, output_padding, dilation, groups, padding_mode, activation,
                     algorithm)  # fmt: skip
        way = _as_operator if _is_compiling() else _with_residual
        return way(call, input, weight, bias, residual, arguments)
    for (
        c, knobs, s, p, o, d, g, m, a, n, unbiased, threads, graded, check, tally, run,
    ) in _recent.get(id(weight), ()):  # fmt: skip
        if (
            c == call
            and knobs is _knobs()
            and (s is stride or _same(s, stride))
            and (p is padding or _same(p, padding))
            and (o is output_padding or _same(o, output_padding))
            and (d is dilation or _same(d, dilation))
            and (g is groups or _same(g, groups))
            and (m is padding_mode or _same(m, padding_mode))
            and (a is activation or _same(a, activation))
            and (n is algorithm or _same(n, algorithm))
            and unbiased is (bias is None)
            and (threads == 0 or threads == _threads())
            and (check(input, weight) if unbiased else check(input, weight, bias))
            and forward_ad._current_level < 0
            and not _modes()
            and (graded is None or graded is _is_grad_enabled())
        ):
            tally[0] += 1
            result: Tensor = run(input, weight) if unbiased else run(input, weight, bias)
            return result
    arguments = (stride, padding, output_padding, dilation, groups, padding_mode, activation,
                 algorithm)  # fmt: skip
    return _eager(call, input, weight, bias, None, arguments)


def _with_residual(
    call: str,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    residual: Tensor | None,
    arguments: _Arguments,
) -> Tensor:
    """A call with a residual, which may be the image itself."""
    for (
        c, knobs, kept, unbiased, is_image, threads, graded, check, tally, run,
    ) in _recent.get(~id(w), ()):  # fmt: skip
        if (
            c == call
            and knobs is _knobs()
            and (all(map(is_, kept, arguments)) or all(map(_is_same, kept, arguments)))
            and unbiased is (b is None)
            and is_image is (residual is x)
            and (threads == 0 or threads == _threads())
            and check(*_distinct(x, w, b, residual))
            and forward_ad._current_level < 0
            and not _modes()
            and (graded is None or graded is _is_grad_enabled())
        ):
            tally[0] += 1
            result: Tensor = run(x, w, b, residual)
            return result
    return _eager(call, x, w, b, residual, arguments)


def planned(
    call: str,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    arguments: _Arguments,
    residual: Tensor | None = None,
) -> planning.Plan:
    """The plan of a call; every user error is raised on the way."""
    optional = {"bias": bias, "residual": residual}
    dtype, device = checked(call, {"input": input, "weight": weight}, optional)
    shapes = (input.shape, weight.shape, None if bias is None else bias.shape)
    stride, padding, output_padding, dilation, groups, mode, activation, algorithm = arguments
    dims = _dims(call)
    layout = memory_layout(input if input.dim() == dims + 2 else input.unsqueeze(0))
    if "transpose" in call:
        spec = conv_transpose_spec(
            *shapes, stride, padding, output_padding, groups, dilation, mode, activation,
            dims=dims, dtype=dtype, device=device, layout=layout,
        )  # fmt: skip
    else:
        spec = conv_spec(
            *shapes, stride, padding, dilation, groups, mode, activation,
            dims=dims, dtype=dtype, device=device, layout=layout,
        )  # fmt: skip
    if residual is not None:
        batched = input.dim() == dims + 2
        check_residual(call, residual.shape, spec.result_shape[0 if batched else 1 :])
        image = residual if batched else residual.unsqueeze(0)
        spec = replace(spec, residual=True, residual_apart=not lies(image, spec.result_layout))
    operands = (input, weight, bias, residual)
    if algorithm is None and not plain_memory(*operands) and not is_traced(*operands):
        algorithm = "native_torch"
    return planning.plan(spec, "conv", settings.with_algorithm(algorithm))


def _dims(call: str) -> int:
    """The number of spatial axes, which a call has in its name."""
    return int(call[-2])


def _eager(
    call: str,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    residual: Tensor | None,
    arguments: _Arguments,
) -> Tensor:
    """A call that nothing remembered of its weight fits."""
    if _tracing() is not None:
        return _traced(call, x, w, b, residual, arguments)
    if is_traced(x, w, b, residual):
        checked(call, {"input": x, "weight": w}, {"bias": b, "residual": residual})
        return _as_operator(call, x, w, b, residual, arguments)
    x, w, b, residual = under_autocast(x, w, b, residual)  # type: ignore[assignment]
    plain = plain_memory(x, w, b, residual)
    key = _key(call, x, w, b, residual, plain, arguments)
    plan, entry = _ready.get(key, (None, None))
    if plan is None:
        plan = planned(call, x, w, b, arguments, residual)
        if key is not None and (plan.threads or not _knobs().measure):
            _ready[_room(_ready, _MOST_READY, key)] = plan, None
    graded = _differentiates(x, w, b, residual)
    if graded:  # counts what it does by itself
        run, tally = differentiable(plan, settings.with_algorithm(arguments[-1])), [0]
    else:
        run, tally = plan.run, plan.tally
    if x.dim() != _dims(call) + 2:
        run = _on_one_image(run)
    if key is not None and plain and not torch._C._is_any_autocast_enabled():
        _remember(key, (x, w, b, residual), plan, entry, (graded, tally, run))
    tally[0] += 1
    result: Tensor = run(*_given(x, w, b, residual))
    return result


def _as_operator(
    call: str,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    residual: Tensor | None,
    arguments: _Arguments,
) -> Tensor:
    """A call of the operator: the arguments are checked now, how the operands fit when it runs."""
    stride, padding, output_padding, dilation, groups, mode, activation, algorithm = arguments
    dims = _dims(call)
    shapes = (x.shape, w.shape, None if b is None else b.shape)
    if "transpose" in call:
        fields = conv_transpose_fields(
            *shapes, stride, padding, output_padding, groups, dilation, mode, activation, dims=dims
        )
    else:
        fields = conv_fields(
            *shapes, stride, padding, dilation, groups, mode, activation, dims=dims
        )
    in_training = _is_grad_enabled() and w.requires_grad
    given = arguments_of_call(fields, in_training, algorithm)
    if x.dim() == dims + 2:
        return call_operator(x, w, b, residual, given)
    image = None if residual is None else residual.unsqueeze(0)
    return call_operator(x.unsqueeze(0), w, b, image, given).squeeze(0)


def _traced(
    call: str,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    residual: Tensor | None,
    arguments: _Arguments,
) -> Tensor:
    """A call that `torch.jit.trace` records: PyTorch's operators, which have their derivatives.

    While it records, sizes are tensors, of which no plan can be made.
    """
    state = _tracing()
    _set_tracing(None)
    try:
        named = (*arguments[:-1], arguments[-1] or "native_torch")
        plan = planned(call, x, w, b, named, residual)
        batched = x.dim() == _dims(call) + 2
    finally:
        _set_tracing(state)
    run = plan.run if batched else _on_one_image(plan.run)
    result: Tensor = run(*_given(x, w, b, residual))
    return result


def _key(
    call: str, x: Any, w: Any, b: Any, r: Any, plain: bool, arguments: _Arguments
) -> tuple[Any, ...] | None:
    """What a plan of a call is remembered under; None where it cannot be."""
    try:
        return (
            call, (knobs := _knobs()), tuple(map(_exact, arguments)), knobs.measure and _threads(),
            plain, x.shape, x.stride(), x.dtype, x.device, w.shape, w.dtype, w.device, w.layout,
            None if b is None else (b.shape, b.dtype, b.device, b.layout),
            None if r is None else (r.shape, r.stride(), r.dtype, r.device, r.layout),
        )  # fmt: skip
    except (AttributeError, TypeError, RuntimeError):
        # not tensors, or no arguments: `planned` says what is wrong with them
        return None


def _remember(
    key: tuple[Any, ...],
    operands: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    plan: planning.Plan,
    entry: _Entry | None,
    found: tuple[bool, list[int], planning.Run],
) -> None:
    """Have the next such call found by the weight."""
    graded, given = found[0], _distinct(*operands)
    if graded and forward_ad._current_level >= 0:
        return
    mode = graded if any(t.requires_grad for t in given) else None
    if entry is None or entry[_GRADED] is not mode or not entry[_CHECK](*given):
        entry = _entry(key, operands, plan, (mode, *found[1:]))
        _ready[key] = plan, entry
    _, w, _, residual = operands
    number = _room(_recent, _MOST_RECENT, id(w) if residual is None else ~id(w))
    _recent[number] = (entry, *_recent.get(number, ())[: _RECENT_OF_A_WEIGHT - 1])


def _entry(
    key: tuple[Any, ...],
    operands: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    plan: planning.Plan,
    found: tuple[bool | None, list[int], planning.Run],
) -> _Entry:
    """What is found by the weight: all that a call must have in common with this one.

    The grad mode is None where no operand wants a gradient, so that any will do.
    """
    call, knobs, arguments = key[:3]
    x, _, b, residual = operands
    mode, *rest = found
    check = (plan.threads, mode, alike(*_distinct(*operands)))
    if residual is None:
        return (call, knobs, *arguments, b is None, *check, *rest)
    return (call, knobs, arguments, b is None, residual is x, *check, *rest)


def _given(
    x: Tensor, w: Tensor, b: Tensor | None, residual: Tensor | None
) -> tuple[Tensor | None, ...]:
    """What a run takes."""
    if residual is not None:
        return x, w, b, residual
    return (x, w) if b is None else (x, w, b)


def _distinct(
    x: Tensor, w: Tensor, b: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, ...]:
    """All operands once, as a check takes them: it says no to a tensor that comes twice."""
    if residual is None or residual is x:
        return (x, w) if b is None else (x, w, b)
    return (x, w, residual) if b is None else (x, w, b, residual)


def _room(table: dict[Any, Any], most: int, key: Any) -> Any:
    """The key, for which there is room in the table then."""
    if len(table) >= most and key not in table:
        table.clear()
    return key


def _exact(value: Any) -> Any:
    """A key that tells 1 from 1.0 and True, which are equal to a dictionary and not to us.

    The value itself where nothing can change it. Raises `TypeError` for what is no argument at all.
    """
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is tuple or kind is list:
        parts = tuple(map(_exact, value))
        return value if kind is tuple and all(map(is_, parts, value)) else parts
    raise TypeError(f"no key for {kind.__name__}")


def _same(kept: Any, given: Any) -> bool:
    """Whether an argument has the key that another one had."""
    kind = type(given)
    if kind is tuple or kind is list:
        fits = type(kept) is tuple and len(kept) == len(given)
        return fits and all(map(_same, kept, given))
    return kind is type(kept) and kind in (int, str) and bool(kept == given)


def _is_same(kept: Any, given: Any) -> bool:
    """The same, where it may be one and the same object."""
    return kept is given or _same(kept, given)


def _on_one_image(run: planning.Run) -> planning.Run:
    """The same for an image without a batch."""

    def unbatched(x: Tensor, w: Tensor, *added: Tensor | None) -> Tensor:
        # a bias, which has no batch, and a residual
        images = [t.unsqueeze(0) for t in added[1:] if t is not None]
        y: Tensor = run(x.unsqueeze(0), w, *added[:1], *images)
        return y.squeeze(0)

    return unbatched


def _differentiates(*operands: Tensor | None) -> bool:
    """Whether anything may ask for a derivative of this call."""
    if forward_ad._current_level >= 0:
        return True
    return _is_grad_enabled() and any(t is not None and t.requires_grad for t in operands)
