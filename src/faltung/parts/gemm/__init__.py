"""The packed matrix product that gathers its right-hand side on the fly."""
