"""Tiles of grouped convolution with the channels of groups as lanes."""
