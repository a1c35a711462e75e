"""Weights in and out: other programs' files and names, and ours."""

FORMATS = ("transformers", "open_clip", "npz", "stablehlo")  # That `aligngap export` writes.
