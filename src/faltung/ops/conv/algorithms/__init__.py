"""One file = one algorithm on one kind of device; this folder is the list.

A file defines one subclass of `faltung.planning.Algorithm` and binds its instance to `ALGORITHM`.
Dropping a file in here is all it takes: the planner considers it and the shared tests run it.
"""
