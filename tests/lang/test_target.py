from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import pytest

from faltung.lang import target
from faltung.lang.target import AVX2, AVX512, NEON, Target, host_target, unavailable

V2 = "sse4_2 popcnt ssse3"
V3 = V2 + " avx2 fma f16c bmi1 bmi2 abm movbe"
V4 = V3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
LLVMS = {"sse4_2": "sse4.2", "bmi1": "bmi", "abm": "lzcnt"}

Machine = Callable[..., Target]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    """The target of a machine of which LLVM and the system say this."""

    def make(
        *, llvm_sees: str | None, system_sees: str | None, name: str = "x86_64", cpu: str = ""
    ) -> Target:
        def features() -> dict[str, bool]:
            if llvm_sees is None:
                raise RuntimeError("unknown machine")
            seen = {LLVMS.get(f, f): True for f in llvm_sees.split()}
            return {**seen, "amx-tile": False}

        file = tmp_path / "cpuinfo"
        file.unlink(missing_ok=True)
        if system_sees is not None:
            file.write_text(f"processor\t: 0\n{system_sees}\n\nprocessor\t: 1\n")
        monkeypatch.setattr(target, "_CPUINFO", file)
        monkeypatch.setattr(llvm, "get_host_cpu_features", features)
        monkeypatch.setattr(target.platform, "machine", lambda: name)
        monkeypatch.setenv("FALTUNG_CPU", cpu)
        host_target.cache_clear()
        unavailable.cache_clear()
        return host_target()

    yield make
    host_target.cache_clear()
    unavailable.cache_clear()


@pytest.mark.parametrize(
    ("features", "cpu", "bits"),
    [(V4, "x86-64-v4", 512), (V3, "x86-64-v3", 256), (V2, "x86-64-v2", 128), ("", "generic", 128)],
)
def test_the_best_level_of_which_nothing_is_missing(
    machine: Machine, features: str, cpu: str, bits: int
) -> None:
    found = machine(llvm_sees=features, system_sees=f"flags\t\t: fpu {features} ht")
    assert (found.cpu, found.vector_bits, found.has_fma) == (cpu, bits, bits > 128)


@pytest.mark.parametrize("missing", V4.split()[3:])
def test_one_witness_is_not_enough(machine: Machine, missing: str) -> None:
    """LLVM's list may come from the processor's name, the system's from another machine."""
    fewer = " ".join(f for f in V4.split() if f != missing)
    expected = "x86-64-v3" if missing.startswith("avx512") else "x86-64-v2"
    assert machine(llvm_sees=fewer, system_sees=f"flags : {V4}").cpu == expected
    assert machine(llvm_sees=V4, system_sees=f"flags : {fewer}").cpu == expected


@pytest.mark.parametrize("system_sees", [None, "", "Features : fp asimd"])
def test_a_system_that_says_nothing_is_no_witness(
    machine: Machine, system_sees: str | None
) -> None:
    assert machine(llvm_sees=V3, system_sees=system_sees).cpu == "x86-64-v3"


@pytest.mark.parametrize(("name", "llvm_sees"), [("x86_64", None), ("riscv64", V4), ("i686", V4)])
def test_an_unknown_machine_runs_no_routines(
    machine: Machine, name: str, llvm_sees: str | None
) -> None:
    found = machine(llvm_sees=llvm_sees, system_sees=None, name=name)
    assert (found.cpu, found.has_fma) == ("generic", False)
    assert "routines need fused multiply-add" in str(unavailable())


@pytest.mark.parametrize("name", ["aarch64", "arm64"])
def test_arm(machine: Machine, name: str) -> None:
    found = machine(llvm_sees=None, system_sees="Features : fp asimd", name=name)
    assert (found.features, found.vector_bits, found.has_fma) == (NEON.features, 128, True)


@pytest.mark.parametrize(
    ("cpu", "bits"), [("avx512", 512), ("avx2", 256), ("sse4.2", 128)]
)  # fmt: skip
def test_the_environment_decides(machine: Machine, cpu: str, bits: int) -> None:
    found = machine(llvm_sees=V3, system_sees=None, cpu=cpu)
    assert found.vector_bits == bits
    assert found.has_fma == (bits > 128)


def test_a_level_that_does_not_exist(machine: Machine) -> None:
    with pytest.raises(ValueError, match=r"must be one of avx512, avx2, sse4\.2, got avx1"):
        machine(llvm_sees=V3, system_sees=None, cpu="avx1")


def test_a_system_that_runs_no_new_code(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(13, "cannot allocate executable memory")

    machine(llvm_sees=V3, system_sees=None)
    assert unavailable() is None
    monkeypatch.setattr(llvm, "check_jit_execution", refuse)
    unavailable.cache_clear()
    assert "cannot allocate executable memory" in str(unavailable())


@pytest.mark.parametrize(
    ("which", "lanes"), [(AVX512, (16, 8)), (AVX2, (8, 4)), (NEON, (4, 2))]
)  # fmt: skip
def test_numbers_in_a_vector(which: Target, lanes: tuple[int, int]) -> None:
    assert (which.lanes(), which.lanes(8)) == lanes


def test_this_machine() -> None:
    found: Any = host_target()
    assert found is host_target()
    assert found.triple == llvm.get_process_triple()
    assert found.vector_bits in (128, 256, 512)
