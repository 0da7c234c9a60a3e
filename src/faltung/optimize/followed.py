"""What a watched run says about the functions before and after a convolution.

After it: the steps that a convolution may wait for (`pending`), as long as each result has one
reader and is gone when the run is over; and the functions that scale the channels of its result
before a pointwise convolution (`scaled`). Before it: the calls of `F.pad` (`padded`) whose result
one convolution reads, in modules where there are no other calls of it.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from torch import nn

from ..machine import this_machine
from .chains import Chain
from .layers import is_exact, is_pointwise
from .origin import origin_of
from .padded import mode_of
from .pending import ADD, VIEW
from .scaled import is_small
from .watching import SAME, Output, Pad, Scaling, Use, Watch

_LOOK_SECONDS = 2e-5  # more for a call of a module whose functions are looked at
_FUNCTION_SECONDS = 1e-6  # and for each function that it calls meanwhile
_PAD_SECONDS = 3e-6  # of PyTorch's, besides moving bytes
_LEAST_SCALED = 600_000  # numbers that functions write, or that takes no longer than a new weight


def steps_after(output: Output) -> tuple[tuple[str, ...], tuple[nn.Module, ...]]:
    """What a convolution whose result this is may wait for: views, an addition, an activation.

    And the modules through whose hands it goes meanwhile.
    """
    steps: list[str] = []
    passed: list[nn.Module] = []
    last = 0
    while (use := _only_use(output, passed)) is not None and use.step is not None and use.intact:
        if use.result is None or use.step == SAME or (use.step == ADD and ADD in steps):
            break
        steps.append(use.step)
        if use.step != VIEW:
            last = len(steps)
        if use.step not in (VIEW, ADD):
            break
        output = use.result
    return tuple(steps[:last]), tuple(dict.fromkeys(passed)) if last else ()


def pads_before(watch: Watch) -> Iterator[tuple[nn.Module, tuple[nn.Module, ...]]]:
    """Modules that pad, or that call `F.pad`, and those through whose hands the result goes.

    Among these are the swapped convolutions that are to do it.
    """
    readers = [_convolution_after(pad) for pad in watch.pads]
    for caller in dict.fromkeys(pad.callers[-1] for pad in watch.pads if pad.callers):
        found = [(p, r) for p, r in zip(watch.pads, readers, strict=True) if caller in p.callers]
        if any(not reader for _, reader in found) or "forward" in caller.__dict__:
            continue
        if origin_of(caller) is not None or isinstance(caller, nn.modules.conv._ConvNd):
            continue
        if mode_of(caller) is not None or _is_worth_it(watch, caller, [pad for pad, _ in found]):
            yield caller, tuple(dict.fromkeys(m for _, reader in found for m in reader))


def scalings(
    watch: Watch, chains: Sequence[Chain]
) -> Iterator[tuple[nn.Module, nn.Module, tuple[nn.Module, ...]]]:
    """Convolutions whose results are scaled, those that read that, and modules in between."""
    of_last = {chain.modules[-1]: chain.convolution for chain in chains if not chain.steps}
    for scaling in watch.scalings:
        root, scaled = scaling.root, scaling.scaled
        if root.module is None or not root.is_gone:
            continue
        conv: Any = of_last.get(root.module, root.module)
        origin = origin_of(conv)
        if origin is None or not origin.call or not is_exact(conv):
            continue
        axis = len(scaling.shape) - 1 if isinstance(conv, nn.Linear) else 1
        if scaled.axis == axis and _pays(scaling):
            passed = (conv, *root.passed, *scaled.passed)
            yield conv, scaling.reader, tuple(dict.fromkeys(passed))


def _pays(scaling: Scaling) -> bool:
    """Whether a convolution that scales, or one pass over the map, takes less than functions."""
    reader: Any = scaling.reader
    origin, numbers = origin_of(reader), prod(scaling.shape)
    if origin is None or not is_exact(reader) or not is_pointwise(reader):
        return False
    folds, functions = is_small(prod(reader.weight.shape), numbers), scaling.scaled.functions
    return functions * numbers >= _LEAST_SCALED and (folds or functions > 1)


def _only_use(output: Output, passed: list[nn.Module]) -> Use | None:
    """The one function that read it; None if there are others or it is kept somewhere."""
    passed += output.passed
    while output.became is not None and not output.uses:
        output = output.became
        passed += output.passed
    return output.uses[0] if output.is_gone and len(output.uses) == 1 else None


def _convolution_after(pad: Pad) -> tuple[nn.Module, ...]:
    """The convolution of ours that alone read what a call of `F.pad` has made.

    And the modules through whose hands that went; nothing if there is no such convolution.
    """
    passed: list[nn.Module] = []
    use = _only_use(pad.output, passed)
    while use is not None and use.step == SAME and use.result is not None:
        use = _only_use(use.result, passed)
    if use is None or not use.intact or use.reader is None:
        return ()
    origin = origin_of(use.reader)
    if origin is None or not origin.call.startswith("conv") or "transpose" in origin.call:
        return ()
    return tuple(dict.fromkeys((use.reader, *passed))) if is_exact(use.reader) else ()


def _is_worth_it(watch: Watch, caller: nn.Module, pads: list[Pad]) -> bool:
    """Whether looking at each function of a module takes less than the padding in it."""
    if type(caller).__module__.startswith("torch."):
        return False
    copying = sum(pad.nbytes for pad in pads) / this_machine().bandwidth
    looking = watch.calls[caller] * _LOOK_SECONDS + watch.functions[caller] * _FUNCTION_SECONDS
    return looking < copying + len(pads) * _PAD_SECONDS
