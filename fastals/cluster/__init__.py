"""Fits on the workers of a Dask cluster. They need Dask (`pip install 'fastals[dask]'`)."""

from .fitting import fit

__all__ = ["fit"]
