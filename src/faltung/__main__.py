"""`python -m faltung` is `faltung`."""

import sys

from .tools.cli import main

sys.exit(main())
