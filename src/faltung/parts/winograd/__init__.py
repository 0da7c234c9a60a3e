"""Winograd transforms, tiles and their products, fused."""
