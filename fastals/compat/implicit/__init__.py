"""The names of the `implicit` package (0.7) for its ALS model, evaluation and weighting, on the fastals engine.

Change `implicit` to `fastals.compat.implicit` in the imports and keep the rest of the code:

    from fastals.compat.implicit.als import AlternatingLeastSquares
    from fastals.compat.implicit.evaluation import ranking_metrics_at_k, train_test_split
    from fastals.compat.implicit.nearest_neighbours import bm25_weight
    from fastals.compat.implicit.utils import ParameterWarning
"""

from .als import AlternatingLeastSquares

__all__ = ["AlternatingLeastSquares"]
