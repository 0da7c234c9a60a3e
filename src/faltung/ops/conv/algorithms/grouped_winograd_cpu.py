"""Small groups by minimal filtering: four rows of outputs from six products of rows, not twelve.

    y[4q + k, o] = b[o] + Σ_j Aᵀ[k, j] · Σ_{c, t} (Bᵀ x)[q, j, t, c] · (G w)[j, t, c, o]

Winograd's F(4, 3) along the height, see `parts.rows.fours`; along the width taps are summed up one
by one. All in registers: a tile adds up the rows of the image that a product asks for, picks from
the sums (`parts.groups.lanes`), and keeps two products of every column at a time. Of the operations
that a core does beside multiply-adds, picks and sums of rows, there are fewer as well, because
there are fewer products: 30 for an output of 36 terms, where pairs of rows take 34.

Whole numbers stay exact. Real ones round 1.6 to 2.8 times as much as PyTorch's (root mean square),
which is why `accuracy="exact"` never uses it. An infinite or NaN input reaches the results of four
rows.

Used for kernels of three rows with stride and dilation 1 in height, of any width, unless a row of
them has very few products to sum up; otherwise like `grouped_channels_last_cpu`.

Source: see `parts.rows.fours`.
"""

from ..group_algorithm import GroupAlgorithm
from ..group_layout import GroupLayout
from ..spec import ConvSpec

_LEAST_PRODUCTS = 12  # with 3 the error was up to 6.8 budgets, with 6 up to 3.7


class GroupedWinogradCpu(GroupAlgorithm):
    """Few channels a group, four rows at a time from half of the products."""

    error_factor = 4.0  # seen in 76,000 draws: 3.12

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """What the direct algorithm cannot do, and anything but three neighbouring rows."""
        height = (spec.kernel_size, spec.stride, spec.dilation)
        found = tuple(sizes[-2] if spec.dims > 1 else 1 for sizes in height)
        if found != (3, 1, 1):
            rows, stride, dilation = found
            return [
                f"needs kernels of 3 rows with stride and dilation 1 in height, has {rows} rows, "
                f"stride {stride} and dilation {dilation}"
            ]
        products = spec.in_channels // spec.groups * spec.kernel_size[-1]
        if products < _LEAST_PRODUCTS:
            return [
                f"needs {_LEAST_PRODUCTS} products or more to a kernel row, has {products}: direct "
                f"sums of so few round much less"
            ]
        return super().unsupported(spec)

    def layout(self, spec: ConvSpec) -> GroupLayout:
        """How the spec is cut: into tiles of four rows."""
        return GroupLayout(spec, four=True)


ALGORITHM = GroupedWinogradCpu()
