"""Strassen's multiplication of matrices, for convolutions that are one product of two."""
