"""`implicit.utils`: the warning about matrices that are not in CSR format."""

from __future__ import annotations

import warnings

import numpy as np

from ...data.interactions import Interactions, MatrixLike, as_interactions

__all__ = ["ParameterWarning", "as_confidences"]


class ParameterWarning(Warning):
    """Warn that a matrix is not in CSR format and has to be converted at every call.

    Examples
    --------
    >>> import warnings
    >>> from scipy.sparse import eye
    >>> from fastals.compat.implicit.als import AlternatingLeastSquares
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     AlternatingLeastSquares(2).fit(eye(3, format="coo"), show_progress=False)
    >>> caught[0].category.__name__
    'ParameterWarning'
    """


def as_confidences(name: str, given: MatrixLike, dtype: np.dtype, stacklevel: int = 3) -> Interactions:
    """Return a matrix of confidences as Interactions; warn where it is not in CSR format.

    Parameters
    ----------
    name : str
        The argument, for messages.
    given : sparse matrix, array or Interactions
    dtype : numpy.dtype
    stacklevel : int, default 3
        As in `warnings.warn`; 3 is the caller of the function that calls this one.

    Returns
    -------
    Interactions

    Raises
    ------
    TypeError, ValueError
        It is not a matrix of finite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> as_confidences("user_items", csr_matrix(np.eye(3)), np.dtype("float32")).shape
    (3, 3)
    """
    rows = as_interactions(given, dtype, name=name)
    if not isinstance(given, Interactions) and getattr(given, "format", None) != "csr":
        warnings.warn(
            f"{name} is a {type(given).__name__}, which is converted to CSR at every call; "
            "pass a scipy.sparse.csr_matrix to save the time",
            ParameterWarning,
            stacklevel=stacklevel,
        )
    return rows
