"""Tiles with channels as lanes."""
