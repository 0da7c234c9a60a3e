import pytest

from faltung.errors import ArgumentError
from faltung.ops.spelling import Choice, Count, Flag, PairPerAxis, PerAxis, Spelling

SPELLING = Spelling(
    tasks=("do", "undo"),
    example="do n1 i2x3 float32 cpu",
    words=(
        Count("n", "batch"),
        PerAxis("i", "input_size"),
        PerAxis("s", "stride", default=1),
        PairPerAxis("p", "padding"),
        Count("g", "groups", default=1),
        Choice("mode", ("zeros", "mirror"), default="zeros"),
        Flag("bias"),
    ),
)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("do n1 i2x3 float32 cpu", {"batch": 1, "input_size": (2, 3)}),
        ("undo n0 i7 s2 int8 cuda:1", {"batch": 0, "input_size": (7,), "stride": (2,)}),
        ("do n1 i2x3 s2 float32 cpu", {"stride": (2, 2)}),
        ("do n1 i2x3 s1x2 float32 cpu", {"stride": (1, 2)}),
        ("do n1 i2x3 p4 float32 cpu", {"padding": ((4, 4), (4, 4))}),
        ("do n1 i2x3 p1+2x0 float32 cpu", {"padding": ((1, 2), (0, 0))}),
        ("do n12 i2x3 g30 mirror bias float32 cpu", {"groups": 30, "mode": "mirror", "bias": True}),
    ],
)
def test_reads_what_each_word_means(text: str, fields: dict[str, object]) -> None:
    read = SPELLING.read(text)
    assert {name: read[name] for name in fields} == fields
    assert (read["task"], *text.split()[-2:]) == (
        text.split(maxsplit=1)[0],
        read["dtype"],
        read["device"],
    )


class Spec:
    task, dtype, device = "do", "float32", "cpu"

    def __init__(self, **fields: object) -> None:
        defaults = {"stride": (1, 1), "padding": ((0, 0),) * 2, "groups": 1, "mode": "zeros"}
        vars(self).update({**defaults, "bias": False, "batch": 1, "input_size": (3, 3), **fields})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "do n1 i3x3 float32 cpu"),
        ({"stride": (2, 2)}, "do n1 i3x3 s2 float32 cpu"),
        ({"stride": (1, 2)}, "do n1 i3x3 s1x2 float32 cpu"),
        ({"padding": ((1, 1), (1, 1))}, "do n1 i3x3 p1 float32 cpu"),
        ({"padding": ((0, 1), (2, 2))}, "do n1 i3x3 p0+1x2 float32 cpu"),
        ({"groups": 3, "mode": "mirror", "bias": True}, "do n1 i3x3 g3 mirror bias float32 cpu"),
    ],
)
def test_writes_only_what_differs_from_the_defaults(fields: dict[str, object], text: str) -> None:
    spec = Spec(**fields)
    assert SPELLING.write(spec) == text
    read = SPELLING.read(text)
    assert {name: getattr(spec, name) for name in read} == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redo n1 i2 float32 cpu", "reads like 'do n1 i2x3 float32 cpu' and starts with one of do"),
        ("do", "a problem reads like"),
        ("do n1 n2 i2 float32 cpu", "batch is given twice in 'do n1 n2 i2 float32 cpu'"),
        ("do n1 float32 cpu", "'do n1 float32 cpu' does not say input_size"),
        ("do n1 i2x float32 cpu", "cannot read the word 'i2x'"),
        ("do n1 i2 p1+ float32 cpu", r"cannot read the word 'p1\+'"),
        ("do n1 i2 q3 float32 cpu", "cannot read the word 'q3'"),
        ("do n1 i2 wrap float32 cpu", "cannot read the word 'wrap'"),
    ],
)
def test_says_which_word_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        SPELLING.read(text)
