"""Fits and recommendations on the workers of a Dask cluster. They need Dask (`pip install 'fastals[dask]'`)."""

from .fitting import fit
from .recommending import recommend

__all__ = ["fit", "recommend"]
