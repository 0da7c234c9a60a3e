import pytest

from faltung.lang.ops import (
    _RULES,
    BOOL,
    F32,
    F64,
    INDEX,
    STORAGE,
    Buffer,
    LanguageError,
    Type,
    result_type,
)

NUMBERS = (INDEX, F32, F64)
SAME = {
    **dict.fromkeys(("add", "sub", "mul", "min", "max"), (2, NUMBERS)),
    **dict.fromkeys(("quot", "rem"), (2, (INDEX,))),
    "div": (2, (F32, F64)),
    "fma": (3, (F32, F64)),
    **dict.fromkeys(("neg", "abs", "sqrt", "round", "pow2"), (1, (F32, F64))),
    **dict.fromkeys(("and", "or"), (2, (BOOL,))),
    "not": (1, (BOOL,)),
}
KINDS = (INDEX, F32, F64, BOOL)
CASTS = {"widen", "narrow"}


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize(("name", "of", "made"), [("widen", F32, F64), ("narrow", F64, F32)])
def test_casts(name: str, of: str, made: str, lanes: int) -> None:
    assert result_type(name, [Type(of, lanes)]) == Type(made, lanes)
    for kind in set(KINDS) - {of}:
        with pytest.raises(LanguageError, match=f"{name} works on {of}, got {kind}"):
            result_type(name, [Type(kind, lanes)])


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("name", SAME)
def test_an_operation_makes_the_type_of_its_operands(name: str, lanes: int) -> None:
    arity, kinds = SAME[name]
    for kind in KINDS:
        operands = [Type(kind, lanes)] * arity
        if kind in kinds:
            assert result_type(name, operands) == Type(kind, lanes)
        else:
            with pytest.raises(LanguageError, match=f"{name} works on {' or '.join(kinds)}, got"):
                result_type(name, operands)


@pytest.mark.parametrize("name", ["lt", "le", "eq"])
def test_a_comparison_makes_bools(name: str) -> None:
    for kind in NUMBERS:
        assert result_type(name, [Type(kind, 4)] * 2) == Type(BOOL, 4)
    with pytest.raises(LanguageError, match="works on index or f32 or f64, got bool, bool"):
        result_type(name, [Type(BOOL)] * 2)


def test_select() -> None:
    a = Type(F64, 4)
    assert result_type("select", [Type(BOOL), a, a]) == a
    assert result_type("select", [Type(BOOL, 4), a, a]) == a
    for condition, b in ((Type(BOOL, 2), a), (Type(F64, 4), a), (Type(BOOL), Type(F64))):
        with pytest.raises(LanguageError, match="select needs bool, a, a; got"):
            result_type("select", [condition, a, b])


def test_lanes_are_changed_by_splat_pick_and_sum_only() -> None:
    assert result_type("splat", [Type(BOOL)], 16) == Type(BOOL, 16)
    assert result_type("pick", [Type(INDEX, 4)] * 2, (7, 0)) == Type(INDEX, 2)
    assert result_type("sum", [Type(F32, 16)]) == Type(F32)
    with pytest.raises(LanguageError, match="splat takes one number, got f32x4"):
        result_type("splat", [Type(F32, 4)], 8)
    with pytest.raises(LanguageError, match=r"pick takes places below 8, got \(8,\)"):
        result_type("pick", [Type(F32, 4)] * 2, (8,))
    with pytest.raises(LanguageError, match=r"pick takes places below 8, got \(-1,\)"):
        result_type("pick", [Type(F32, 4)] * 2, (-1,))
    with pytest.raises(LanguageError, match="power of two of lanes, got f32x3"):
        result_type("sum", [Type(F32, 3)])


@pytest.mark.parametrize(("name", "attr"), [("splat", 0), ("pick", ())])
def test_nothing_has_no_lanes(name: str, attr: object) -> None:
    with pytest.raises(LanguageError, match="at least one lane, got 0"):
        result_type(name, [Type(F32)] * (1 if name == "splat" else 2), attr)


def test_mistakes_say_what_is_wrong() -> None:
    with pytest.raises(LanguageError, match="there is no operation 'exp'"):
        result_type("exp", [Type(F32)])
    with pytest.raises(LanguageError, match="fma takes 3 operands, got 2"):
        result_type("fma", [Type(F32)] * 2)
    with pytest.raises(LanguageError, match="add needs operands of one type, got f32x8, f32"):
        result_type("add", [Type(F32, 8), Type(F32)])


def test_every_operation_is_in_the_tables_of_the_other_files() -> None:
    """An operation that is added must be given a meaning, and have its tests here."""
    from faltung.lang.interpret import _MEANING

    assert set(_RULES) == set(_MEANING) | {"splat", "pick"}
    assert set(_RULES) == set(SAME) | {"lt", "le", "eq", "select", "splat", "pick", "sum"} | CASTS


def test_what_a_buffer_holds() -> None:
    assert {name: Buffer("x", name, 1, written=False).kind for name in STORAGE} == {
        "float32": F32, "float64": F64, "float16": F32, "bfloat16": F32,
    }  # fmt: skip
    assert [Buffer("x", name, 1, written=False).item_size for name in STORAGE] == [4, 8, 2, 2]
    assert str(Type(F32, 8)) == "f32x8"
    assert str(Type(INDEX)) == "index"
