"""Four rows from six products: the definition, to the bit in whole numbers."""

import numpy as np
import pytest

from faltung.lang.interpret import interpret
from faltung.lang.routine import Routine, Value
from faltung.parts.rows.fours import (
    ENDS,
    FACTORS,
    OUTPUTS,
    PRODUCTS,
    READ,
    TAPS,
    TWINS,
    Rows,
    four_outputs,
)  # fmt: skip

DTYPES = ["float32", "float64"]


def filtered(dtype: str, lanes: int) -> Routine:
    """y from the rows d and the products' weights w, each of them one vector."""
    r, kind = Routine("four_rows"), "f64" if dtype == "float64" else "f32"
    y = r.writes("y", dtype, OUTPUTS * lanes)
    d, w = r.reads("d", dtype, READ * lanes), r.reads("w", dtype, PRODUCTS * lanes)
    with r.work():
        rows = [r.load(d, n * lanes, lanes) for n in range(READ)]
        weights = [r.load(w, n * lanes, lanes) for n in range(PRODUCTS)]

        def total(of: Rows) -> Value:
            found = r.const(0, kind, lanes)
            for row, factor in of:
                found = r.fma(rows[row], r.const(factor, kind, lanes), found)
            return found

        made = []
        for twins in TWINS:
            even, odd = total(twins.even), total(twins.odd)
            for point in (twins.point, -twins.point):
                made.append(r.fma(odd, r.const(point, kind, lanes), even))
        made += map(total, ENDS)
        *inner, first, last = (m * weight for m, weight in zip(made, weights, strict=True))
        outputs = list(four_outputs(r, *inner))
        outputs[0], outputs[3] = outputs[0] + first, outputs[3] + last
        for n, value in enumerate(outputs):
            r.store(y, n * lanes, value)
    return r


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("most", [2, 9, 100])
def test_whole_numbers_to_the_bit(dtype: str, most: int) -> None:
    random, lanes = np.random.default_rng(most), 256
    d = random.integers(-most, most + 1, (READ, lanes)).astype(dtype)
    g = random.integers(-most, most + 1, (TAPS, lanes)).astype(dtype)
    w, y = (np.array(FACTORS, dtype) @ g).astype(dtype), np.full((OUTPUTS, lanes), np.nan, dtype)
    memory = {"y": y.reshape(-1), "d": d.reshape(-1), "w": w.reshape(-1)}
    interpret(filtered(dtype, lanes), memory)
    expected = [sum(d[n + tap] * g[tap] for tap in range(TAPS)) for n in range(OUTPUTS)]
    assert np.array_equal(y, np.array(expected))


def test_a_third_of_every_multiple_is_exact() -> None:
    numbers = np.arange(1, 2**24 // 3, dtype=np.float32)  # 3 times each is a float32 as well
    assert np.array_equal((3 * numbers) * np.float32(1 / 3), numbers)
    wide = np.random.default_rng(3).integers(1, 2**53 // 3, 100_000).astype(np.float64)
    assert np.array_equal((3 * wide) * np.float64(1 / 3), wide)


def test_only_the_ends_read_the_first_row_and_the_last() -> None:
    between = {row for twins in TWINS for rows in (twins.even, twins.odd) for row, _ in rows}
    first, last = ({row for row, _ in rows} for rows in ENDS)
    assert between == {1, 2, 3, 4}
    assert 0 in first - last and READ - 1 in last - first
    assert len(FACTORS) == PRODUCTS == 2 * len(TWINS) + len(ENDS)
    assert all(len(factors) == TAPS for factors in FACTORS)
