from faltung.lang.routine import Routine
from faltung.lang.text import text


def test_the_example_of_the_module() -> None:
    import faltung.lang.text as module

    r = Routine("scale", items=100)
    x, y = r.reads("x", "float32", 800), r.writes("y", "float32", 800)
    with r.work() as item:
        at = item * 8
        r.store(y, at, r.load(x, at, 8) * 2.0)
    _, _, example = str(module.__doc__).partition("\n\n")
    assert text(r) == example


def test_everything_there_is() -> None:
    r = Routine("all", items=3)
    x, y = r.reads("x", "bfloat16", 64), r.writes("y", "float64", 24)
    z = r.writes("z", "float32", 8)
    with r.work() as item:
        tail = r.below(8 - item, 4)
        with r.loop(0, item + 1, 2, carried=[r.load(x, 0, 4), item]) as rows:
            numbers, place = rows.carried
            more = r.load(x, rows.index * 4, 4, mask=tail)
            r.cut()
            r.prefetch(x, rows.index)
            rows.carry(r.fma(more, numbers, r.const(-0.5, "f32", 4)), place + 1)
        with r.when(rows.results[1] < 3):
            both = r.pick(rows.results[0], numbers_twice := rows.results[0] * 2.0, (0, 4, 1, 5))
            r.store(z, item, r.select(tail, both, numbers_twice), mask=r.mask([1, 0, 1, 1]))
        r.store(y, item * 8, r.const(float("inf"), "f64", 2))
    assert text(r) == GOLDEN


GOLDEN = """\
routine all, 3 items
  reads x bfloat16[64]
  writes y float64[24]
  writes z float32[8]
work i0 of 3
  v1: index = sub 8, i0
  v2: indexx4 = lane
  v3: indexx4 = splat v1 4
  v4: boolx4 = lt v2, v3
  v5: index = add i0, 1
  v6: f32x4 = load x[0]
  loop i7 = 0 … v5 step 2, v8 = v6, v9 = i0
    v10: index = mul i7, 4
    v11: f32x4 = load x[v10] where v4
    cut
    prefetch x[i7]
    v12: f32x4 = fma v11, v8, -0.5x4
    v13: index = add v9, 1
    next v12, v13
  v14: f32x4 = result 0 of i7
  v15: index = result 1 of i7
  v16: bool = lt v15, 3
  when v16
    v17: f32x4 = mul v14, 2.0x4
    v18: f32x4 = pick v14, v17 (0, 4, 1, 5)
    v19: f32x4 = select v4, v18, v17
    store z[i0] = v19 where 1011
  v20: index = mul i0, 8
  store y[v20] = infx2
"""
