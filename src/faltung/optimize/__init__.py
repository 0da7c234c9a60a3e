"""Whole models: swap their convolutions for ours in place, say what that gave, and undo it."""

from .api import optimize_ as optimize_
from .api import restore_ as restore_
from .replaced import replace_torch as replace_torch
from .reporting import Report as Report
from .reporting import report as report
from .verifying import VerificationError as VerificationError
