"""Where a convolution is followed by nothing but its normalisation and activation.

A chain is a convolution whose result only a BatchNorm reads, and that one's only an activation,
each of the three called once and standing in one place. There are two proofs of it:

`torch.fx` writes down what a `forward` does, whatever it is given. Where the whole model cannot be
written down (its path depends on sizes, numbers or keywords) its parts are tried, from the outside
in: then the `forward` of the part is the proof. A part that is a `Sequential` can be gone through
by others, who take what lies between its layers; so unless the whole model was written down it
counts only if the example inputs have shown that it is called as often as the layers in it.

A run with the example inputs that was watched shows who read what. If the module that called the
three asked for no numbers, the same holds for all inputs of these sizes; if it asked for no sizes
either, for all. Where it did ask for them, the chain holds for the sizes of the example only.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import fx, nn
from torch.utils._pytree import tree_leaves

from ..machine import this_machine
from ..ops.conv.spec import ConvSpec
from ..ops.naming import split
from . import activations
from .chains import Chain
from .followed import steps_after
from .layers import is_exact
from .origin import KEY, origin_of
from .pending import ADD, VIEW
from .watching import Watch

# of a residual, an activation: numbers of the result that are read and written
_ADDED, _BENT = 3, 2
_EXPONENTIAL = ("silu", "gelu", "gelu_tanh", "sigmoid", "elu")
_EXPONENTIAL_SECONDS = 0.7e-9  # that PyTorch takes longer for one than we do
# of Python, which is in no cache between large layers, and of a store that reads and bends as well
_WAITING_SECONDS = 250e-6

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class _Scope:
    """What chains may be made of, in one model."""

    places: Counter[int]  # in how many places each module stands, by identity
    watch: Watch | None
    fold: bool
    fuse: bool


def chains_of(
    model: nn.Module, watch: Watch | None, fold_batchnorm: bool, fuse_activations: bool
) -> list[Chain]:
    """The chains of a model whose convolutions are swapped, and whose run may have been watched."""
    everything = (m for _, m in model.named_modules(remove_duplicate=False))
    scope = _Scope(Counter(map(id, everything)), watch, fold_batchnorm, fuse_activations)
    found = list(_written(model, scope))
    if watch is not None:
        taken = {id(m) for chain in found for m in chain.modules}
        found += [c for c in _watched(watch, scope) if not taken & {id(m) for m in c.modules}]
        if fuse_activations:
            found += _waiting(found, watch, scope)
    return found


def _waiting(found: list[Chain], watch: Watch, scope: _Scope) -> list[Chain]:
    """Have chains without an activation wait for steps, and make such of single convolutions."""
    chains = {chain.convolution: chain for chain in found}
    more = []
    for conv in watch.outputs:
        chain = chains.get(conv)
        last = conv if chain is None or chain.norm is None else chain.norm
        if (chain is not None and chain.act is not None) or watch.calls[last] != 1:
            continue
        if not (_is_convolution(conv) and _may_start(conv) and _is_free(conv, scope)):
            continue
        if last not in watch.outputs:
            continue
        steps, passed = steps_after(watch.outputs[last])
        if not _pays(conv, steps):
            continue
        if steps and chain is not None:
            chain.steps, chain.passed = steps, passed
        elif steps:
            more.append(Chain(conv, None, None, None, steps=steps, passed=passed))
    return more


def _pays(conv: nn.Module, steps: tuple[str, ...]) -> bool:
    """Whether the passes over the result that are saved take longer than waiting for them."""
    spec: ConvSpec | None = conv.__dict__[KEY].before
    if spec is None or not steps:
        return bool(steps)
    done = [step for step in steps if step != VIEW]
    numbers = prod(spec.result_shape)
    read = sum(_ADDED if step == ADD else _BENT for step in done) * numbers * spec.item_size
    slowly = numbers if done[-1] != ADD and split(done[-1])[0] in _EXPONENTIAL else 0
    saved = read / this_machine().bandwidth + slowly * _EXPONENTIAL_SECONDS
    return saved > _WAITING_SECONDS


def _written(model: nn.Module, scope: _Scope) -> Iterator[Chain]:
    done: set[int] = set()

    def within(part: nn.Module, is_model: bool) -> Iterator[Chain]:
        if id(part) in done or not part._modules or _is_convolution(part):
            return
        done.add(id(part))
        written = _written_down(part)
        if written is None:
            for child in part.children():
                yield from within(child, is_model=False)
        else:
            for chain in _in_graph(*written, part, scope):
                if is_model or _is_called(part, chain, scope):
                    yield chain

    yield from within(model, is_model=True)


def _watched(watch: Watch, scope: _Scope) -> Iterator[Chain]:
    for conv in watch.outputs:
        if not _is_convolution(conv) or not _may_start(conv) or not _is_free(conv, scope):
            continue
        norm = act = name = None
        after = _sole_reader(watch, conv)
        if scope.fold and after is not None and _folds(conv, after, scope):
            norm, after = after, _sole_reader(watch, after)
        if scope.fuse and after is not None and _is_free(after, scope):
            name = activations.name_of(after)
            act = after if name else None
        if norm is not None or act is not None:
            spec: ConvSpec | None = conv.__dict__[KEY].before
            caller = watch.outputs[conv].caller
            if caller in watch.asked_sizes:
                if spec is None:
                    continue
                yield Chain(conv, norm, act, name, _given(conv, spec))
            else:
                yield Chain(conv, norm, act, name)


def _given(conv: nn.Module, spec: ConvSpec) -> tuple[int, ...]:
    """The shape of what a module was given, whose spec this is."""
    batch, channels, *size = spec.x_shape
    if not isinstance(conv, nn.Linear):
        return spec.operand_shapes[0]
    return (batch, *(size[1:] if size[0] == 1 else size), channels)


def _sole_reader(watch: Watch, module: nn.Module) -> nn.Module | None:
    """The module that read the result of this one, if nothing else did or could."""
    output = watch.outputs[module]
    readers, caller = output.readers, output.caller
    if len(readers) != 1 or not output.is_gone or watch.calls[module] != 1:
        return None
    reader = readers[0]
    if reader is None or reader not in watch.outputs or watch.calls[reader] != 1:
        return None
    if caller is None or caller in watch.asked_numbers:
        return None
    return reader if watch.outputs[reader].caller is caller else None


def _may_start(conv: nn.Module) -> bool:
    """Whether a swapped convolution can do more than itself."""
    return is_exact(conv) and getattr(conv, "activation", None) is None


class _Tracer(fx.Tracer):
    """Goes into whatever has children; what has none is one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a call of `m` is written down as such."""
        if not m._modules or _is_convolution(m):
            return True
        return super().is_leaf_module(m, module_qualified_name)


def _is_convolution(module: nn.Module) -> bool:
    origin = origin_of(module)
    return origin is not None and bool(origin.call)


def _written_down(part: nn.Module) -> tuple[fx.Graph, set[fx.Node]] | None:
    """What its `forward` does, and what of it is kept on the side, in attributes."""
    shadows: dict[int, nn.Module] = {}
    try:
        graph = _Tracer().trace(_shadow(part, shadows))
    except Exception:  # whatever a forward of the user's raises when it is given no tensor
        return None
    leaves = [leaf for twin in shadows.values() for leaf in tree_leaves(_attributes(twin))]
    return graph, {leaf.node for leaf in leaves if isinstance(leaf, fx.Proxy)}


def _shadow(module: nn.Module, known: dict[int, nn.Module]) -> nn.Module:
    """The same modules with attributes of their own, in which a forward may write what it likes."""
    if id(module) not in known:
        twin = known[id(module)] = module.__new__(type(module))
        twin.__dict__ = {
            name: copy.copy(value) if type(value) in (list, dict, set) else value
            for name, value in module.__dict__.items()
        }
        twin.__dict__["_modules"] = {
            name: None if child is None else _shadow(child, known)
            for name, child in module._modules.items()
        }
    return known[id(module)]


def _attributes(module: nn.Module) -> list[Any]:
    return [value for name, value in module.__dict__.items() if name != "_modules"]


def _in_graph(
    graph: fx.Graph, kept: set[fx.Node], part: nn.Module, scope: _Scope
) -> Iterator[Chain]:
    called = [node for node in graph.nodes if node.op == "call_module"]
    modules = {node: part.get_submodule(str(node.target)) for node in called}
    uses = Counter(map(id, modules.values()))
    once = {node: m for node, m in modules.items() if uses[id(m)] == 1 and _is_free(m, scope)}
    for node, conv in once.items():
        if not _is_convolution(conv) or not _may_start(conv):
            continue
        norm = act = name = None
        after = _only_reader(node, once, kept)
        if scope.fold and after is not None and _folds(conv, modules[after], scope):
            norm, after = modules[after], _only_reader(after, once, kept)
        if scope.fuse and after is not None:
            name = activations.name_of(modules[after])
            act = modules[after] if name else None
        if norm is not None or act is not None:
            yield Chain(conv, norm, act, name)


def _only_reader(
    node: fx.Node, modules: dict[fx.Node, nn.Module], kept: set[fx.Node]
) -> fx.Node | None:
    """The module that gets this result and nothing else, if none but it reads the result."""
    readers: list[Any] = list(node.users)
    if node in kept or len(readers) != 1 or readers[0] not in modules:
        return None
    reader: fx.Node = readers[0]
    return reader if reader.args == (node,) and not reader.kwargs else None


def _is_free(module: nn.Module, scope: _Scope) -> bool:
    """Whether it stands in one place, does nothing else yet, and nobody has changed how it runs."""
    origin = origin_of(module)
    once = scope.places[id(module)] == 1 and "forward" not in module.__dict__
    return once and (origin is None or origin.chain is None)


def _folds(conv: Any, norm: nn.Module, scope: _Scope) -> bool:
    """Whether a module is a BatchNorm that a convolution can do."""
    if (
        isinstance(conv, nn.Linear)
        or type(norm) is not _NORMS[len(conv.kernel_size) - 1]
        or not _is_free(norm, scope)
    ):
        return False
    tensors = [*norm.parameters(), *(b for b in norm.buffers() if b.is_floating_point())]
    known: Any = norm
    return (
        known.track_running_stats
        and known.running_mean is not None
        and known.num_features == conv.out_channels
        and all(t.dtype == conv.weight.dtype and t.device == conv.weight.device for t in tensors)
    )


def _is_called(part: nn.Module, chain: Chain, scope: _Scope) -> bool:
    """Whether the layers of a chain run because `part`, which was written down, is called."""
    if scope.watch is None:
        return not isinstance(part, nn.Sequential)
    times = scope.watch.calls[part]
    return times > 0 and scope.watch.calls[chain.convolution] == times
