"""Derivatives of a convolution: three tasks, closed under differentiation.

A convolution is bilinear in (x, w), so the derivative of any task in any operand is again one of
the three tasks, with the incoming gradient `ct` in the place of an operand:

    task                 d/d first operand        d/d second operand
    forward(x, w)        grad_input(ct, w)        grad_weight(x, ct)
    grad_input(gy, w)    forward(ct, w)           grad_weight(ct, gy)
    grad_weight(x, gy)   grad_input(gy, ct)       forward(x, ct)

`backward` applies the same function with the task replaced, so a gradient is planned like any
other call and derivatives of any order come from this table alone. No arithmetic happens here.

A bias and a residual are added to the result, so their gradients are sums of `ct`, and `ct` itself.
What a task's derivatives are does not change from step to step of a training, so a `Job` keeps
them, and their plans; and one check of all operands (`operands.alike`) says that a step is like an
earlier one, whose plans then run at once. Where others have used the caches between two steps, each
function more that a step goes through costs it microseconds.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ... import planning, settings
from ..activations import activate
from ..layouts import laid_out
from ..operands import alike, lies, memory_layout, plain_memory
from ..tracing import is_traced
from .bias_gradient import OnTheWay
from .operator import arguments_of, call_operator
from .spec import ConvSpec

_FIRST, _SECOND, _CT = "first", "second", "ct"
_DERIVATIVES = {
    "forward": (("grad_input", _CT, _SECOND), ("grad_weight", _FIRST, _CT)),
    "grad_input": (("forward", _CT, _SECOND), ("grad_weight", _CT, _FIRST)),
    "grad_weight": (("grad_input", _SECOND, _CT), ("forward", _FIRST, _CT)),
}
_PLACES = {_FIRST: 0, _SECOND: 1, _CT: 2}
_MOST_KNOWN = 4  # kinds of operands of a job that are known at once

# asked at every step, so without a way through modules
_modes = torch._C._len_torch_dispatch_stack
_is_grad_enabled = torch.is_grad_enabled

_Wanted = tuple[bool, ...]
_Grads = tuple[Tensor | None, ...]
_Check = Callable[..., bool]


class Job:
    """A spec and its settings, with the plans and derivatives found so far.

    Its sizes may be symbolic, if nothing is to be planned.
    """

    def __init__(self, spec: ConvSpec, knobs: settings.Settings) -> None:
        self.spec, self.knobs = spec, knobs
        self._plans: dict[bool, planning.Plan] = {}
        self._derivatives: dict[str, Job] = {}
        self._elsewhere: dict[tuple[str, bool], Job] = {}
        # what the operands of earlier calls were like, and the plans that did them
        self._known: tuple[tuple[int, bool, _Check, planning.Plan], ...] = ()
        self._steps: tuple[tuple[_Wanted, _Check, Callable[..., _Grads]], ...] = ()

    @cached_property
    def bare(self) -> "Job":
        """The same without an activation, whose derivative PyTorch knows."""
        if self.spec.activation is None:
            return self
        return Job(replace(self.spec, activation=None), self.knobs)

    def derivative(self, task: str) -> "Job":
        """The same convolution without a bias, another of its tasks; planned freely."""
        found = self._derivatives.get(task)
        if found is None:
            found = Job(self.spec.with_task(task), settings.planner_chooses(self.knobs))
            self._derivatives[task] = found
        return found

    def run(
        self,
        first: Tensor,
        second: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        changing_weight: bool,
    ) -> Tensor:
        """Plan the task and do it, wherever the operands lie."""
        if not plain_memory(first, second, bias, residual):
            return self._run_by_pytorch(first, second, bias, residual)
        image, layout = first, memory_layout(first)
        if layout == "strided":
            # a gradient comes as others made it: that of `y.sum()` is one number, expanded
            layout, image = self.spec.layout, laid_out(first, self.spec.layout)
        result = "channels_last" if layout == "channels_last" else "contiguous"
        apart = residual is not None and not lies(residual, result)
        same = layout == self.spec.layout and apart is self.spec.residual_apart
        job = self if same else self._lying(layout, apart)
        other = second
        if job.spec.task == "grad_weight" and memory_layout(second) != layout:
            other = laid_out(second, layout)
        changing = changing_weight and job.spec.task != "grad_weight"
        plan = job._plans.get(changing) or job._plan(changing)
        if image is first and other is second and residual is None:
            self._know((first, second, bias), changing_weight, plan)
        return _run(plan, image, other, bias, residual)

    def known(
        self, first: Tensor, second: Tensor, bias: Tensor | None, changing_weight: bool
    ) -> planning.Plan | None:
        """The plan of an earlier call whose operands were like these, without a residual."""
        given = (first, second) if bias is None else (first, second, bias)
        for count, changing, check, plan in self._known:
            if count == len(given) and changing is changing_weight and check(*given):
                return plan
        return None

    def _know(
        self, operands: tuple[Tensor, Tensor, Tensor | None], changing: bool, plan: planning.Plan
    ) -> None:
        given = _present(*operands)
        check = alike(*given)
        # where it is measured a plan holds for a number of threads; and a check may say no to all
        if not self.knobs.measure and check(*given):
            kept = self._known[: _MOST_KNOWN - 1]
            self._known = ((len(given), changing, check, plan), *kept)

    def step(
        self, wanted: _Wanted, first: Tensor | None, second: Tensor | None, ct: Tensor
    ) -> Callable[..., _Grads] | None:
        """What made the derivatives of an earlier call like this one: `made(first, second, ct)`."""
        given = _present(first, second, ct)
        for needed, check, made in self._steps:
            if needed == wanted and check(*given):
                return made
        return None

    def learn(
        self, wanted: _Wanted, first: Tensor | None, second: Tensor | None, ct: Tensor
    ) -> OnTheWay | None:
        """Remember how the derivatives were made that just have been, if they always are so.

        Says what will find the bias's gradient on the way, if anything will.
        """
        values, plans = {_FIRST: first, _SECOND: second, _CT: ct}, []
        both = None
        for position, (task, a, b) in enumerate(_DERIVATIVES[self.spec.task]):
            one, other = values[a], values[b]
            if wanted[position] and one is not None and other is not None:
                changing = other.requires_grad
                plan = self.derivative(task).known(one, other, None, changing)
                if plan is None:
                    return None
                plans.append((position, plan, _PLACES[a], _PLACES[b]))
                # of a transposed convolution it is another operand's sum
                if wanted[2] and task == "grad_weight" and other is ct:
                    both = plan.run if isinstance(plan.run, OnTheWay) else None
        given = _present(first, second, ct)
        check = alike(*given)
        if not check(*given):
            return None
        made = partial(_derived, tuple(plans), both, wanted)
        self._steps = ((wanted, check, made), *self._steps[: _MOST_KNOWN - 1])
        return both

    def _plan(self, changing: bool) -> planning.Plan:
        """The plan for a weight that stays, or for one that every step of a training changes."""
        knobs = settings.for_changing_weight(self.knobs) if changing else self.knobs
        plan = planning.plan(self.spec, "conv", knobs)
        if not self.knobs.measure:  # else it is one for this number of threads
            self._plans[changing] = plan
        return plan

    def _run_by_pytorch(
        self, first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None
    ) -> Tensor:
        """Do the task with operators that other tensors than those in memory know."""
        knobs = self.knobs
        if knobs.algorithm is None:
            knobs = settings.with_algorithm("native_torch")
        return _run(planning.plan(self.spec, "conv", knobs), first, second, bias, residual)

    def _lying(self, layout: str, apart: bool) -> "Job":
        """The same for images, or a residual, in another memory layout."""
        found = self._elsewhere.get((layout, apart))
        if found is None:
            spec = replace(self.spec, layout=layout, residual_apart=apart)
            found = self._elsewhere[layout, apart] = Job(spec, self.knobs)
        return found


def _run(
    plan: planning.Plan,
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
) -> Tensor:
    """What the plan makes of what there is."""
    if residual is not None:
        y: Tensor = plan(first, second, bias, residual)
        return y
    y = plan(first, second) if bias is None else plan(first, second, bias)
    return y


def _present(*operands: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(t for t in operands if t is not None)


def _derived(
    plans: tuple[tuple[int, planning.Plan, int, int], ...],
    both: OnTheWay | None,
    wanted: _Wanted,
    *values: Tensor,
) -> _Grads:
    """The gradients of all operands, by plans for the two that are multiplied."""
    ct = values[2]
    grads: list[Tensor | None] = [None, None, None]
    for position, plan, a, b in plans:
        if both is not None and position == 1:
            plan.tally[0] += 1
            grads[1:] = both.both(values[a], values[b])
        else:
            grads[position] = plan(values[a], values[b])
    if both is None and wanted[2]:
        grads[2] = _of_bias(ct)
    return (*grads, ct if wanted[3] else None, None)


def _whole(y: Tensor) -> Tensor:
    """The same as no view: what an algorithm has cut out of something larger is no view of anything
    that is differentiated, though forward mode would look for a tangent of the whole."""
    return y.data if y._is_view() else y


def _of_bias(ct: Tensor) -> Tensor:
    return ct.sum([0, *range(2, ct.dim())])


class Conv(torch.autograd.Function):
    """A job done with its operands, outside PyTorch's dispatcher: `apply(first, …, job)`.

    It knows nothing of `torch.func`: there, the operator is called.
    """

    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        second: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        job: Job,
    ) -> Tensor:
        """Keep what either direction of differentiation needs, and do the job."""
        wanted = ctx.needs_input_grad
        ctx.job = job
        # the derivative in one operand needs the other
        ctx.save_for_backward(first if wanted[1] else None, second if wanted[0] else None)
        if residual is None and not _modes() and forward_ad._current_level < 0:
            plan = job.known(first, second, bias, second.requires_grad)
            if plan is not None:
                return _whole(_run(plan, first, second, bias, None))
        ctx.save_for_forward(first, second)
        if is_traced(first, second, bias, residual):
            return _one_level_down(first, second, bias, residual, job)
        return _whole(job.run(first, second, bias, residual, second.requires_grad))

    @staticmethod
    def backward(ctx: Any, ct: Tensor) -> _Grads:
        """The table's row, for the operands that need it; a complex gradient conjugates."""
        first, second = ctx.saved_tensors
        wanted, job = ctx.needs_input_grad, ctx.job
        once = not (_is_grad_enabled() or _modes()) and forward_ad._current_level < 0
        if once:
            made: Callable[..., _Grads] | None = job.step(wanted, first, second, ct)
            if made is not None:
                return made(first, second, ct)
        values = {_FIRST: first, _SECOND: second, _CT: ct}
        if ct.is_complex():
            values = {name: t if t is ct or t is None else t.conj() for name, t in values.items()}
        grads: list[Tensor | None] = [None, None]
        for position, (task, a, b) in enumerate(_DERIVATIVES[job.spec.task]):
            if wanted[position]:
                grads[position] = apply(values[a], values[b], None, None, job.derivative(task))
        learned = job.learn(wanted, first, second, ct) if once and not ct.is_complex() else None
        of_bias = None
        if wanted[2]:  # rounded as it will be in the next step
            of_bias = _of_bias(ct) if learned is None else learned.both(first, ct)[1]
        return *grads, of_bias, ct if wanted[3] else None, None

    @staticmethod
    def jvp(
        ctx: Any,
        first_t: Tensor | None,
        second_t: Tensor | None,
        bias_t: Tensor | None,
        residual_t: Tensor | None,
        _: None,
    ) -> Tensor | None:
        """The product rule: the task of each tangent with the other operand."""
        first, second = ctx.saved_tensors
        spec = ctx.job.spec
        job = ctx.job.derivative(spec.task)
        terms = []
        if first_t is not None:
            terms.append(apply(first_t, second, None, None, job))
        if second_t is not None:
            terms.append(apply(first, second_t, None, None, job))
        if bias_t is not None:
            ones = (1,) * spec.dims
            terms.append(bias_t.view(-1, *ones).expand(spec.result_shape))
        if residual_t is not None:
            terms.append(residual_t)
        return sum(terms[1:], start=terms[0]) if terms else None


def _one_level_down(
    first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None, job: Job
) -> Tensor:
    """The operator, where this level of differentiation is already taken care of.

    A transform around this one may differentiate as well, which is off inside of a Function.
    """
    arguments = arguments_of(job.spec, second.requires_grad, job.knobs.algorithm)
    with (
        torch.enable_grad(),
        forward_ad._set_fwd_grad_enabled(True),
        torch._C._AutoDispatchBelowAutograd(),
    ):
        return call_operator(first, second, bias, residual, arguments)


# what `Conv.apply` does when no transform is active, without reading its signature each time
_applied: Any = super(torch.autograd.Function, Conv).apply

_jobs: dict[tuple[planning.Plan, settings.Settings], Job] = {}
_MOST_JOBS = 4096


def apply(
    first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None, job: Job
) -> Tensor:
    """Do a job such that its result can be differentiated."""
    if is_traced(first, second, bias, residual):
        arguments = arguments_of(job.spec, second.requires_grad, job.knobs.algorithm)
        return call_operator(first, second, bias, residual, arguments)
    if torch.is_grad_enabled() or forward_ad._current_level >= 0:
        return applied(first, second, bias, residual, job)
    return job.run(first, second, bias, residual, second.requires_grad)


def applied(
    first: Tensor, second: Tensor, bias: Tensor | None, residual: Tensor | None, job: Job
) -> Tensor:
    """`Conv.apply`, typed, for the level of differentiation that there is."""
    result: Tensor = _applied(first, second, bias, residual, job)
    return result


def differentiable(plan: planning.Plan, knobs: settings.Settings) -> planning.Run:
    """What does what the plan does, such that it can be differentiated: `run(x, w, b, residual)`.

    PyTorch knows the activation.
    """
    job = _jobs.get((plan, knobs))
    if job is None:
        if len(_jobs) >= _MOST_JOBS:
            _jobs.clear()
        job = _jobs[plan, knobs] = Job(plan.spec, knobs).bare
    return partial(_activated, plan.spec.activation, job)


def _activated(
    activation: str | None,
    job: Job,
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    y = applied(x, w, b, residual, job)
    return y if activation is None else activate(activation, y)
