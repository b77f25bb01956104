"""Faces: they render, and decide nothing."""
