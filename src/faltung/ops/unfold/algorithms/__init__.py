"""The algorithms of unfold and fold: the folder is the list."""
