"""`faltung.summary`: every layer of a model with what it costs, sees, and would run on.

recorder   runs the model once and writes down its convolutions, matrix products and pools
seen       the positions of the input behind a position of a tensor; `notes` and `rules` use it
table      the facts, as plain values
terminal   prints them; `page` shows them in a notebook
"""

from .table import Layer as Layer
from .table import Summary as Summary
from .table import summary as summary
