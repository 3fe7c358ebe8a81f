"""rg_helpers: draw, compare and train on the reasoning graphs of language models."""

__version__ = "0.1.0"
