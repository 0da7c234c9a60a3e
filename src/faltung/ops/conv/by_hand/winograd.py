"""Convolution with fewer multiplications: Winograd's minimal filtering by the Cook-Toom method.

    y = Aᵀ [ (G g) ⊙ (Bᵀ d) ]                     1-D: m outputs, r taps, m + r − 1 products
    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A              2-D: the same along both axes

F(m, r) computes m neighbouring outputs of an r-tap filter g from a tile d of n = m + r − 1 inputs.
The direct way multiplies m·r times, this one n times (⊙ is element by element). In 2-D, F(4×4, 3×3)
multiplies 36 times instead of 144. The constant matrices cost additions, shared by all channels.

Where the matrices come from:

1. A product of polynomials s(x) = g(x)·h(x), with r and m coefficients, has n of them. It is known
   from its values at n points, and s(a) = g(a)·h(a) is one multiplication a point. "The point ∞"
   stands for the leading coefficient, which is the product of the leading coefficients.
2. Evaluating g or h at all points is a product with a Vandermonde matrix: rows (1, a, a², …), and
   (0, …, 0, 1) for ∞. Interpolating is s(x) = Σ_j s(a_j)·L_j(x) + s(∞)·M(x) with
   Lagrange's L_j(x) = Π_{k≠j} (x − a_k)/(a_j − a_k) and M(x) = Π_k (x − a_k), a product with the
   matrix C of their coefficients. So s = C [(V g) ⊙ (U h)].
3. A polynomial product is the convolution Σ_k g_k·h_{i−k}. Filtering, y_i = Σ_k g_k·d_{i+k}, is its
   transpose in h. Transposing step 2 gives y = Uᵀ [(V g) ⊙ (Cᵀ d)], thus Aᵀ = Uᵀ, G = V, Bᵀ = Cᵀ.
4. Each denominator N_j = Π_{k≠j} (a_j − a_k) is moved from row j of Bᵀ to row j of G, which is
   computed once per filter. Whole points then make Aᵀ and Bᵀ whole.

Use it for small filters with stride 1 and many channels. Not for large m: the entries grow and the
cancellation between them costs accuracy, some of which well-chosen points such as 0, ±1/√2, ±√2
win back.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308;
Blahut, "Fast Algorithms for Signal Processing", 2010, section 5.2 (Cook-Toom);
Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for deep neural
networks", arXiv 1803.10986 (choice of points).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ....errors import ArgumentError, ArgumentTypeError
from ...arguments import integer, integers
from ...geometry import Sizes
from ..spec import ConvSpec
from .definition import batched, channel_groups, finished, positions, spec_of, zero_padded

Number = int | float | Fraction
Matrix = list[list[Fraction]]


def cook_toom(
    m: int, r: int, points: Sequence[Number] | None = None
) -> tuple[Matrix, Matrix, Matrix]:
    """The matrices Aᵀ [m, n], G [n, r] and Bᵀ [n, n] of F(m, r), n = m + r − 1, exactly.

    `points` are at least n − 1 different numbers, of which the first n − 1 are used; the last point
    is always ∞. Left out, they are 0, 1, −1, 2, −2, 1/2, −1/2, 3, …. A float counts as the binary
    fraction that it is, so y = Aᵀ[(G g) ⊙ (Bᵀ d)] holds exactly for any points.

    >>> at, g, bt = cook_toom(2, 3)
    >>> for matrix in (at, g, bt):
    ...     print([" ".join(str(entry) for entry in row) for row in matrix])
    ['1 1 1 0', '0 1 -1 1']
    ['-1 0 0', '1/2 1/2 1/2', '1/2 -1/2 1/2', '0 0 1']
    ['-1 0 1 0', '0 1 1 0', '0 -1 1 0', '0 -1 0 1']

    Raises `ArgumentError` for m or r below 1, and for points that are too few or repeat.
    """
    m, r = integer(m, "m"), integer(r, "r")
    if m < 1 or r < 1:
        raise ArgumentError(f"F(m, r) needs m and r of at least 1, got F({m}, {r})")
    a = _finite_points(m + r - 2, points)
    others = [a[:j] + a[j + 1 :] for j in range(len(a))]
    scale = [math.prod(a_j - a_k for a_k in rest) for a_j, rest in zip(a, others, strict=True)]

    u = [*(_powers(a_j, m) for a_j in a), _at_infinity(m)]
    v = [[power / n_j for power in _powers(a_j, r)] for a_j, n_j in zip(a, scale, strict=True)]
    g = [*v, _at_infinity(r)]
    bt = [*([*_with_roots(rest), Fraction(0)] for rest in others), _with_roots(a)]
    return [list(column) for column in zip(*u, strict=True)], g, bt


def conv2d_winograd(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    padding: Any = 0,
    groups: int = 1,
    *,
    m: Any = 2,
    points: Sequence[Number] | None = None,
) -> Tensor:
    """2-D convolution of stride 1 in tiles of m×m outputs (m an integer or one per axis).

    x [N, C, H, W] or [C, H, W], w [O, C/groups, KH, KW], b [O] -> y [N, O, out, out] or
    [O, out, out]. The same as `F.conv2d(x, w, b, 1, padding, 1, groups)`, up to rounding.

    >>> import torch
    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> conv2d_winograd(x, torch.ones(1, 1, 3, 3))  # one tile: 16 products instead of 36
    tensor([[[[45., 54.],
              [81., 90.]]]])

    Raises `ArgumentError` for shapes and arguments that do not fit, `ArgumentTypeError` for whole
    numbers, in which the fractions of G have no place.
    """
    if w.dim() != 4:
        raise ArgumentError(f"weight must be [O, C/groups, KH, KW], got {w.dim()} dimensions")
    if not (x.is_floating_point() or x.is_complex()):
        raise ArgumentTypeError(f"Winograd needs a floating-point or complex x, got {x.dtype}")
    spec = spec_of(x, w, b, 1, padding, 1, groups)
    tile = integers(m, 2, "m", minimum=1)
    (at_h, g_h, bt_h), (at_w, g_w, bt_w) = (
        [_tensor(matrix, x) for matrix in cook_toom(m_i, r, points)]
        for m_i, r in zip(tile, spec.kernel_size, strict=True)
    )
    counts = tuple(-(-out // m_i) for out, m_i in zip(spec.output_size, tile, strict=True))
    covered = tuple(count * m_i for count, m_i in zip(counts, tile, strict=True))
    padded = _with_room_for(covered, batched(x, spec), spec)

    u = g_h @ w @ g_w.T  # [O, C/G, n, n], once for all tiles
    y = x.new_zeros(spec.batch, spec.out_channels, *covered)
    for row, column in positions(counts):
        top, left = row * tile[0], column * tile[1]
        d = padded[:, :, top : top + len(bt_h), left : left + len(bt_w)]
        v = bt_h @ d @ bt_w.T  # [N, C, n, n]
        for o, c in channel_groups(spec):
            products = torch.einsum("ocij,ncij->noij", u[o], v[:, c])  # ⊙, summed over channels
            y[:, o, top : top + tile[0], left : left + tile[1]] = at_h @ products @ at_w.T
    rows, columns = spec.output_size
    return finished(y[:, :, :rows, :columns], b, x)


def conv1d_winograd(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    padding: Any = 0,
    groups: int = 1,
    *,
    m: int = 2,
    points: Sequence[Number] | None = None,
) -> Tensor:
    """1-D convolution of stride 1 in tiles of m outputs: the 2-D one on a picture of one row.

    x [N, C, L] or [C, L], w [O, C/groups, K], b [O] -> y [N, O, out] or [O, out]. The same as
    `F.conv1d(x, w, b, 1, padding, 1, groups)`, up to rounding.

    >>> import torch
    >>> conv1d_winograd(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[[1.0, 10.0, 100.0]]]))
    tensor([[321., 432.]])

    Raises what `conv2d_winograd` raises.
    """
    if w.dim() != 3:
        raise ArgumentError(f"weight must be [O, C/groups, K], got {w.dim()} dimensions")
    spec = spec_of(x, w, b, 1, padding, 1, groups)
    rows = ((0, 0), spec.padding[0])
    y = conv2d_winograd(
        x.unsqueeze(-2), w.unsqueeze(-2), b, rows, groups, m=(1, integer(m, "m")), points=points
    )
    return y.squeeze(-2)


def _finite_points(count: int, points: Sequence[Number] | None) -> list[Fraction]:
    """The first `count` points as exact fractions, all different."""
    chosen = list(itertools.islice(_default_points() if points is None else points, count))
    if not all(math.isfinite(point) for point in chosen) or len(set(chosen)) < count:
        raise ArgumentError(
            f"m + r - 1 = {count + 1} needs {count} different finite points besides infinity, "
            f"got {chosen}"
        )
    return [Fraction(point) for point in chosen]


def _default_points() -> Iterator[Fraction]:
    """0, 1, −1, then k, −k, 1/k, −1/k for k = 2, 3, …: small numbers first."""
    yield from (Fraction(0), Fraction(1), Fraction(-1))
    for k in itertools.count(2):
        yield from (Fraction(k), Fraction(-k), Fraction(1, k), Fraction(-1, k))


def _powers(a: Fraction, count: int) -> list[Fraction]:
    """1, a, a², …: the row that evaluates a polynomial at a."""
    return [a**i for i in range(count)]


def _at_infinity(count: int) -> list[Fraction]:
    """0, …, 0, 1: the row that takes a polynomial's leading coefficient."""
    return [Fraction(0)] * (count - 1) + [Fraction(1)]


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of Π (x − root), the constant one first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]  # x · p(x)
        scaled = [*(root * c for c in coefficients), Fraction(0)]
        coefficients = [high - low for high, low in zip(shifted, scaled, strict=True)]
    return coefficients


def _tensor(matrix: Matrix, like: Tensor) -> Tensor:
    """The matrix in x's dtype; each entry is rounded once."""
    exact = torch.tensor([[float(entry) for entry in row] for row in matrix], dtype=torch.float64)
    return exact.to(dtype=like.dtype, device=like.device)


def _with_room_for(outputs: Sizes, x: Tensor, spec: ConvSpec) -> Tensor:
    """x zero-padded for that many outputs: the last tiles may end past the padding asked for."""
    reach = tuple(
        (axis.padding[0], out + axis.span - 1 - axis.padding[0] - axis.input_size)
        for out, axis in zip(outputs, spec.axes, strict=True)
    )
    return zero_padded(x, reach)
