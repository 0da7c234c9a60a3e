"""What a compiled routine's `run` does at every call, for as little as it can cost.

    y = make()                                        an unwritten result
    launch(y.data_ptr(), x.data_ptr(), w.data_ptr())  the routine, on as many threads as it is worth

    run = weighted(make, ready, launch)               both, for a routine that has a weight

For algorithms whose names end in `_cpu`: made once in `build`, used in `run`. A call of a small
layer is over in three microseconds; reading the arguments of `torch.empty` anew each time, and
looking for threads that would not help, took it two more.
"""

from collections.abc import Callable, Sequence

import torch

from ..lang.compile import Compiled
from .memory import keeper

_ORDERS = {4: torch.channels_last, 5: torch.channels_last_3d}

# what one core does in the time that it takes to have others help, some five microseconds; less
# work than that is done before they are awake
_ALONE_OPERATIONS = 250_000
_ALONE_BYTES = 100_000


def allocator(shape: Sequence[int], dtype: str, layout: str) -> Callable[[], torch.Tensor]:
    """What makes unwritten tensors on the CPU, a new one at each call.

    Half the time of `torch.empty`, which reads its arguments anew each time, and not to be
    diverted by `torch.set_default_device`. `layout` is `contiguous` or `channels_last`. Large ones
    lie in the memory that earlier ones had.

    >>> allocator((2, 3), "bfloat16", "contiguous")().shape
    torch.Size([2, 3])
    """
    order = _ORDERS[len(shape)] if layout == "channels_last" else torch.contiguous_format
    kind: torch.dtype = getattr(torch, dtype)
    with torch.inference_mode(mode=False):
        model = torch.empty(tuple(shape), dtype=kind, device="cpu", memory_format=order)
        model.untyped_storage().resize_(0)  # what it is like is asked for, never what is in it
    return keeper(model)


def launcher(routine: Compiled, operations: int, bytes: int) -> Callable[..., None]:
    """What runs a routine, given the addresses of its buffers: `launch(*addresses)`.

    It runs on the number of threads that PyTorch has at that moment; on the calling one alone if
    that many operations on that many bytes would be done before another has woken up.
    """
    if operations <= _ALONE_OPERATIONS and bytes <= _ALONE_BYTES:
        return routine.alone
    return routine.on(torch.get_num_threads)


def weighted(
    make: Callable[[], torch.Tensor],
    ready: Callable[[torch.Tensor], torch.Tensor],
    launch: Callable[..., None],
) -> Callable[..., torch.Tensor]:
    """The `run(x, w, bias=None)` of a routine that takes y, x, a weight and perhaps a bias.

    `make` and `launch` are those above; `ready` says how the weight has to lie.
    """

    def run(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        y, lying = make(), ready(w)
        if bias is None:
            launch(y.data_ptr(), x.data_ptr(), lying.data_ptr())
        else:
            given = bias.contiguous()
            launch(y.data_ptr(), x.data_ptr(), lying.data_ptr(), given.data_ptr())
        return y

    return run
