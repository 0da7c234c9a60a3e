"""Tiles along a row of an image: sums over taps with pixels as lanes."""
