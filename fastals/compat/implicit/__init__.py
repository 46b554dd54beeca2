"""The `implicit` package's names for its ALS model, its evaluation and its weighting, on this library's engine.

`implicit` becomes `fastals.compat.implicit` in the import, and nothing else changes:

    from fastals.compat.implicit.als import AlternatingLeastSquares
    from fastals.compat.implicit.evaluation import ranking_metrics_at_k, train_test_split
    from fastals.compat.implicit.nearest_neighbours import bm25_weight
"""

from .als import AlternatingLeastSquares

__all__ = ["AlternatingLeastSquares"]
