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
them, and their plans.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ... import planning, settings
from ..activations import activate
from ..layouts import laid_out
from ..operands import lies, memory_layout, plain_memory
from ..tracing import is_traced
from .operator import arguments_of, call_operator
from .spec import ConvSpec

# what tells a view from another tensor: a result that an algorithm has cut out of something larger
# is none to forward mode, which would look for a tangent of the whole
_VIEWS = torch._C.DispatchKeySet(torch._C.DispatchKey.ADInplaceOrView)

_FIRST, _SECOND, _CT = "first", "second", "ct"
_DERIVATIVES = {
    "forward": (("grad_input", _CT, _SECOND), ("grad_weight", _FIRST, _CT)),
    "grad_input": (("forward", _CT, _SECOND), ("grad_weight", _CT, _FIRST)),
    "grad_weight": (("grad_input", _SECOND, _CT), ("forward", _FIRST, _CT)),
}


class Job:
    """A spec and its settings, with the plans and derivatives found so far.

    Its sizes may be symbolic, if nothing is to be planned.
    """

    def __init__(self, spec: ConvSpec, knobs: settings.Settings) -> None:
        self.spec, self.knobs = spec, knobs
        self._plans: dict[bool, planning.Plan] = {}
        self._derivatives: dict[str, Job] = {}
        self._elsewhere: dict[tuple[str, bool], Job] = {}

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
        layout = memory_layout(first)
        if layout == "strided":
            # a gradient comes as others made it: that of `y.sum()` is one number, expanded
            layout, first = self.spec.layout, laid_out(first, self.spec.layout)
        result = "channels_last" if layout == "channels_last" else "contiguous"
        apart = residual is not None and not lies(residual, result)
        same = layout == self.spec.layout and apart is self.spec.residual_apart
        job = self if same else self._lying(layout, apart)
        if job.spec.task == "grad_weight" and memory_layout(second) != layout:
            second = laid_out(second, layout)
        changing = changing_weight and job.spec.task != "grad_weight"
        plan = job._plans.get(changing) or job._plan(changing)
        return _run(plan, first, second, bias, residual)

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
        ctx.save_for_forward(first, second)
        if is_traced(first, second, bias, residual):
            return _one_level_down(first, second, bias, residual, job)
        with torch._C._ExcludeDispatchKeyGuard(_VIEWS):
            return job.run(first, second, bias, residual, second.requires_grad)

    @staticmethod
    def backward(ctx: Any, ct: Tensor) -> tuple[Tensor | None, ...]:
        """The table's row, for the operands that need it; a complex gradient conjugates."""
        first, second = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        values = {_FIRST: first, _SECOND: second, _CT: ct}
        if ct.is_complex():
            values = {name: t if t is ct or t is None else t.conj() for name, t in values.items()}
        grads: list[Tensor | None] = [None, None]
        for position, (task, a, b) in enumerate(_DERIVATIVES[ctx.job.spec.task]):
            if wanted[position]:
                job = ctx.job.derivative(task)
                grads[position] = apply(values[a], values[b], None, None, job)
        of_bias = ct.sum([0, *range(2, ct.dim())]) if wanted[2] else None
        return grads[0], grads[1], of_bias, ct if wanted[3] else None, None

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


def differentiable(
    plan: planning.Plan,
    x: Tensor,
    w: Tensor,
    b: Tensor | None,
    residual: Tensor | None,
    knobs: settings.Settings,
) -> Tensor:
    """What the plan does, such that it can be differentiated; PyTorch knows the activation."""
    job = _jobs.get((plan, knobs))
    if job is None:
        if len(_jobs) >= _MOST_JOBS:
            _jobs.clear()
        job = _jobs[plan, knobs] = Job(plan.spec, knobs).bare
    return activate(plan.spec.activation, apply(x, w, b, residual, job))
