"""What `faltung verify` checks: the problems, the systems, and how one check is measured."""
