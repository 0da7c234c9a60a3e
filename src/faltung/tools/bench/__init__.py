"""`faltung bench`: real layers, ours against PyTorch and ONNX Runtime, right before fast.

`cases` says what, `contestants` who, `truth` what is right, `rounds` how time is taken, `outcome`
what came of a case, `overhead` what making a routine costs, `table` and `record` how it is told.
"""
