"""What an optimised module keeps of itself as it was, and how its class is changed and put back.

A module is swapped by its class alone: `__class__` becomes one of ours, which computes the same.
Parameters, buffers, hooks, `state_dict` and everything in `__dict__` stay; one entry comes on top,
`_faltung`, an `Origin`. Copying and pickling then need nothing special, for our classes can be
imported; a subclass of the user's own gets one that is made when it is needed, and knows how.
"""

import copyreg
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.utils import parametrize

from ..ops.conv.spec import ConvSpec
from .normed import NormedWeight
from .pointwise import LinearState

if TYPE_CHECKING:
    from .chains import Chain

KEY = "_faltung"


@dataclass
class Origin:
    """What `restore_` and `report` need to know of an optimised module.

    original
        Its class before, not counting what `parametrize` put on top.
    call
        The function of ours that does the same, `conv2d`; empty for what is no convolution.
    added
        Names in `__dict__` that were not there.
    before, seen
        What PyTorch was given when the example inputs ran through the model as it was, and what our
        first call was given.
    layout
        The memory layout that images are brought into; None leaves them as they come.
    weight_layout
        The layout of the weight before, where it was changed, too.
    chain
        What is done together with it.
    leads_to
        The convolutions that do the padding which this module does or calls, and the modules
        through whose hands it goes to them.
    is_padded
        Whether a convolution may be given images that are to be padded or scaled by it.
    offers, receives
        Whether a convolution's results are seen by functions that scale their channels, and the
        modules through whose hands they go then.
    normed, linear
        Its weight as `weight_norm` last computed it, or as a convolution has that of a `Linear`.
    """

    original: type[nn.Module]
    call: str = ""
    added: tuple[str, ...] = ()
    before: ConvSpec | None = None
    seen: ConvSpec | None = None
    layout: str | None = None
    weight_layout: str | None = None
    chain: "Chain | None" = None
    leads_to: tuple[nn.Module, ...] = ()
    is_padded: bool = False
    offers: bool = False
    receives: tuple[nn.Module, ...] = ()
    normed: NormedWeight = field(default_factory=NormedWeight)
    linear: LinearState = field(default_factory=LinearState)


def origin_of(module: nn.Module) -> Origin | None:
    """What is kept of it; None for a module that is not optimised."""
    found: Origin | None = module.__dict__.get(KEY)
    return found


def keep(module: nn.Module, origin: Origin) -> None:
    """Keep it where neither `state_dict` nor `named_modules` looks."""
    module.__dict__[KEY] = origin


def plain_class(module: nn.Module) -> type[nn.Module]:
    """Its class, not counting what `parametrize` put on top."""
    own = type(module)
    return own.__bases__[0] if parametrize.is_parametrized(module) else own


def set_class(module: nn.Module, wanted: type[nn.Module]) -> None:
    """Make `wanted` the plain class of a module; its parametrizations stay on top.

    Raises `TypeError` where Python cannot: the classes keep attributes in different places.
    """
    own = type(module)
    if parametrize.is_parametrized(module):
        # each parametrised module has a class of its own, with the parameters as properties
        names = {k: v for k, v in vars(own).items() if k not in ("__dict__", "__weakref__")}
        wanted = type(own.__name__, (wanted,), names)
    module.__class__ = wanted


def joined(user: type[nn.Module], *bases: type[nn.Module]) -> type[nn.Module]:
    """A class made of these, of which `user` is one, and gives its name.

    Behind a class of the user's, ours is found where PyTorch's was: `super()` leads there. Before
    it, ours decides whether the user's is asked. The class made of the same ones is always the
    same, and its instances are copied and pickled by naming them.
    """
    made = _made.get((user, *bases))
    if made is None:
        made = _made[user, *bases] = _make(user, bases)
    return made


_made: dict[tuple[type[nn.Module], ...], type[nn.Module]] = {}


def _make(user: type[nn.Module], bases: tuple[type[nn.Module], ...]) -> type[nn.Module]:
    def reduce(self: nn.Module, protocol: Any) -> tuple[Any, ...]:
        parts: tuple[Any, ...] = tuple(object.__reduce_ex__(self, max(int(protocol), 2)))
        if parts[0] is copyreg.__newobj__:  # type: ignore[attr-defined]
            return (_new, (user, *bases), *parts[2:])
        return parts

    names = {"__module__": user.__module__, "__qualname__": user.__qualname__,
             "__doc__": user.__doc__, "__reduce_ex__": reduce}  # fmt: skip
    return type(user.__name__, bases, names)


def _new(user: type[nn.Module], *bases: type[nn.Module]) -> nn.Module:
    made = joined(user, *bases)
    return made.__new__(made)
