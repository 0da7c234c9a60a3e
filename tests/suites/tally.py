"""Cases of the suites no one here wrote: run one by one, named when they fail, and counted.

A suite passed by falling back proves nothing, so every case also notes which algorithms ran in it.
The counts travel with pytest's reports, so that they add up under pytest-xdist too.
"""

from collections import Counter

import pytest
import torch

import faltung
from faltung import planning

FAMILIES = ("conv", "unfold", "deform")
_PROPERTY = "faltung suite"


class Case:
    """One case of a suite, used in a `with`: a failure is noted, and the next case runs."""

    def __init__(self, name, counts, failures):
        self._name, self._counts, self._failures = name, counts, failures

    def __enter__(self):
        self._before = faltung.usage()
        self._counts["cases"] = self._counts.get("cases", 0) + 1
        return self

    def __exit__(self, kind, error, traceback):
        for algorithm in self._ran():
            self._counts[f"ran {algorithm}"] = self._counts.get(f"ran {algorithm}", 0) + 1
        if error is None:
            self._counts["passed"] = self._counts.get("passed", 0) + 1
        elif isinstance(error, Exception):
            self._failures.append(f"{self._name}\n    {kind.__name__}: {error}")
            return True
        return False

    def error_factor(self):
        """How much more than a direct sum the algorithms that ran so far may round."""
        factors = [
            algorithm.error_factor
            for family in FAMILIES
            for algorithm in planning.algorithms(family, "cpu")
            if algorithm.name in self._ran()
        ]
        return max(factors, default=1.0)

    def _ran(self):
        """The algorithms that ran since the case began."""
        return sorted(faltung.usage() - self._before)


class Cases:
    """The cases of one test: `with cases("OpInfo forward") as case: with case(name): ...`."""

    def __init__(self, node):
        self._node, self._failures = node, []

    def __call__(self, suite):
        self._counts = self._reported(suite)
        return self

    def leave_out(self, suite, count):
        """Count cases of a suite that are not run."""
        self._reported(suite)["left out"] = count

    def _reported(self, suite):
        # the report copies the list of properties, but not this dictionary, when the test has ended
        counts = {"suite": suite}
        self._node.user_properties.append((_PROPERTY, counts))
        return counts

    def __enter__(self):
        return lambda name: Case(name, self._counts, self._failures)

    def __exit__(self, kind, error, traceback):
        if error is None and self._failures:
            total = self._counts["cases"]
            listed = "\n".join(self._failures)
            pytest.fail(f"{len(self._failures)} of {total} cases fail:\n{listed}", pytrace=False)


def spelled(*values, **named):
    """Arguments for people: the shape and dtype of a tensor, anything else as it is."""
    parts = [_spelled(value) for value in values]
    return ", ".join(parts + [f"{name}={_spelled(value)}" for name, value in named.items()])


def summary(reports):
    """One line per suite from the reports of the tests that ran."""
    suites = {}
    for report in reports:
        for name, counts in getattr(report, "user_properties", ()):
            if name == _PROPERTY and report.when == "call":
                numbers = {key: n for key, n in counts.items() if key != "suite"}
                suites.setdefault(counts["suite"], Counter()).update(numbers)
    return [_line(suite, counts) for suite, counts in sorted(suites.items())]


def _line(suite, counts):
    ran = {key.removeprefix("ran "): n for key, n in counts.items() if key.startswith("ran ")}
    fell_back = ran.pop("native_torch", 0)
    parts = [f"{counts['cases']} cases", f"{counts['passed']} passed"]
    if counts["left out"]:
        parts.append(f"{counts['left out']} left out")
    parts.append(f"fell back to native_torch in {fell_back}")
    return f"{suite}: " + ", ".join(parts + [f"{name} in {n}" for name, n in sorted(ran.items())])


def _spelled(value):
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return repr(value)
