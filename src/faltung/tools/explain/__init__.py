"""`faltung.explain`: one layer, explained from its index map, for terminal, program and page.

subject    finds the layer that is meant
facts      everything there is to say, as plain values; `code` and `strip` are parts of it
terminal, as_json, page    the same in three forms
"""

from .facts import Explanation as Explanation
from .subject import explain as explain
