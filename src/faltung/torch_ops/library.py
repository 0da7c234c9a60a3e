"""The library that holds our operators: they live as long as it does."""

from typing import Any

import torch

LIBRARY: Any = torch.library.Library("faltung", "DEF")  # type: ignore[no-untyped-call]
