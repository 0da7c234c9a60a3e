"""One folder per operator family; every folder has the same file names."""
