"""Counts of a convolution by walking through its definition, one use of a weight at a time.

Nothing here asks a spec for a count: sizes, strides and the padding mode go in, and positions are
visited with loops.
"""

import itertools
from collections.abc import Iterator

from faltung.ops.conv.spec import ConvSpec


def windows(n: int, k: int, s: int, padding: tuple[int, int], d: int) -> int:
    """How many windows fit, moving one on at a time."""
    low, high = padding
    count, first = 0, -low
    while first + d * (k - 1) < n + high:
        count, first = count + 1, first + s
    return count


def reads(spec: ConvSpec, axis: int) -> Iterator[tuple[int, int, int | None]]:
    """Every (output, tap, input or None) of an axis."""
    n, (low, _) = spec.input_size[axis], spec.padding[axis]
    for q, t in itertools.product(range(spec.output_size[axis]), range(spec.kernel_size[axis])):
        i = q * spec.stride[axis] - low + t * spec.dilation[axis]
        if not 0 <= i < n:
            i = {
                "zeros": None,
                "circular": i % n,
                "replicate": min(max(i, 0), n - 1),
                "reflect": -i if i < 0 else 2 * (n - 1) - i,
            }[spec.padding_mode]
        yield q, t, i


def pairs_of_channels(spec: ConvSpec) -> int:
    """Pairs of an output channel and an input channel that it looks at."""
    inputs, outputs = spec.in_channels // spec.groups, spec.out_channels // spec.groups
    return sum(
        o // outputs == c // inputs
        for o in range(spec.out_channels)
        for c in range(spec.in_channels)
    )


def multiply_adds(spec: ConvSpec) -> tuple[int, int]:
    """All uses of a weight, and those that are not on zero padding."""
    channels = spec.batch * pairs_of_channels(spec)
    every, inside = channels, channels
    for axis in range(spec.dims):
        found = [i for _, _, i in reads(spec, axis)]
        every *= len(found)
        inside *= sum(i is not None for i in found)
    return every, inside


def random_spec(random, *, task: str | None = None, modes: bool = True) -> ConvSpec:
    """A small layer with anything that a layer may have."""
    while True:
        dims = random.choice((1, 2, 2, 3))
        groups = random.choice((1, 1, 2, 3))
        kernel = tuple(random.randint(1, 4) for _ in range(dims))
        size = tuple(random.randint(1, 13 if dims < 3 else 6) for _ in range(dims))
        stride = tuple(random.randint(1, 3) for _ in range(dims))
        dilation = tuple(random.randint(1, 3) for _ in range(dims))
        padding = tuple((random.randint(0, 3), random.randint(0, 3)) for _ in range(dims))
        if random.random() < 0.6:
            padding = tuple((low, low) for low, _ in padding)
        mode = "zeros"
        if modes and random.random() < 0.2:
            mode = random.choice(("reflect", "replicate", "circular"))
        axes = zip(size, kernel, stride, padding, dilation, strict=True)
        fits = all(windows(n, k, s, p, d) > 0 for n, k, s, p, d in axes)
        narrow = all(max(p) < n for p, n in zip(padding, size, strict=True))
        if fits and (mode == "zeros" or narrow):
            return ConvSpec(
                task or random.choice(("forward", "grad_input")), random.randint(1, 3),
                groups * random.randint(1, 3), groups * random.randint(1, 3), size, kernel, (),
                stride, padding, dilation, groups, mode, random.random() < 0.5,
            )  # fmt: skip
