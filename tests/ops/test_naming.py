"""Names of activations: one spelling each, whatever somebody writes."""

import pytest

from faltung.errors import ArgumentError
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.deform.spec import DeformSpec
from faltung.ops.naming import ACTIVATIONS, NUMBERED, canonical, listed, spelled, split

ONE = "forward n1 c1 o1 i5 k3 {} float32 cpu"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_plain_name_is_its_own_spelling(name: str) -> None:
    assert canonical(name) == name
    assert split(name) == (name, NUMBERED.get(name))
    assert spelled(*split(name)) == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("leaky_relu(0.1)", "leaky_relu(0.1)"),
        ("leaky_relu(.10)", "leaky_relu(0.1)"),
        ("leaky_relu(0.01)", "leaky_relu"),
        ("leaky_relu(-2)", "leaky_relu(-2.0)"),
        ("elu(1)", "elu"),
        ("elu(1e-3)", "elu(0.001)"),
    ],
)
def test_a_number_has_one_spelling(written: str, name: str) -> None:
    assert canonical(written) == name
    spec = ConvSpec.parse(ONE.format(written))
    assert spec.activation == name
    assert spec == ConvSpec.parse(ONE.format(name)) == ConvSpec.parse(str(spec))
    deformed = DeformSpec.parse(f"forward n1 c1 o1 i5x5 k3x3 {written} float32 cpu")
    assert deformed.activation == name


@pytest.mark.parametrize(
    "name",
    ["", "swish", "relu(1)", "relu()", "elu()", "elu(x)", "elu(1", "elu1)", "elu(1)(2)", "elu(inf)",
     "elu(nan)", "(1)", 3, None, ["relu"]],
)  # fmt: skip
def test_what_is_no_activation(name: object) -> None:
    assert canonical(name) is None
    if isinstance(name, str):
        with pytest.raises(ValueError, match=r"no activation|takes no number|could not convert"):
            split(name)
    if name is not None:
        with pytest.raises(ArgumentError, match="activation must be one of None, 'relu'"):
            ConvSpec("forward", 1, 1, 1, (5,), (3,), activation=name)  # type: ignore[arg-type]


def test_the_list_says_which_take_a_number() -> None:
    assert listed().endswith("'sigmoid', 'leaky_relu(…)', 'elu(…)'")
