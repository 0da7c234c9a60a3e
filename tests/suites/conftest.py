"""Counting for the suites: the `cases` fixture, and a line per suite after the last test."""

import pytest

from suites.tally import Cases, summary


@pytest.fixture
def cases(request):
    return Cases(request.node)


def pytest_terminal_summary(terminalreporter):
    reports = [report for group in terminalreporter.stats.values() for report in group]
    lines = summary(reports)
    if lines:
        terminalreporter.section("suites no one here wrote")
        for line in lines:
            terminalreporter.line(line)
