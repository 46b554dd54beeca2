"""Translate hyper-parameters between other ALS libraries and fastals: the same objective, other steps and start.

    translation = from_implicit(factors=64, alpha=40.0)
    model = fastals.WeightedALS(**translation.params).fit(translation.cells(R))

Every objective for implicit feedback below is, over all entries of the users x items matrix and up to a common factor,

    sum_{stored} c (t - x_u.y_i)^2 + sum_{others} w (x_u.y_i)^2 + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2

| model                | c                | t              | w      | ridge: n stored, N other side |
|----------------------|------------------|----------------|--------|-------------------------------|
| fastals.ImplicitALS  | 1 + alpha abs(r) | 1 if r > 0     | a0 p_i | regularization (n + a0 N)^nu  |
| fastals.WeightedALS  | weight           | r              | a0 p_i | regularization (n + a0 N)^nu  |
| implicit             | alpha abs(r)     | 1 if r > 0     | 1      | regularization                |
| irspack, "IALSPP"    | x + alpha0       | x / (x+alpha0) | alpha0 | reg (n + alpha0 N)^nu         |
| irspack, "ORIGINAL"  | x + alpha0       | 1              | alpha0 | reg (n + alpha0 N)^nu         |
| cmfrec CMF_implicit  | 1 + alpha x      | 1              | 1      | lambda_                       |
| LensKit ImplicitMF   | 1 + weight (r)   | 1              | 1      | regularization                |
| Spark, implicitPrefs | 1 + alpha abs(r) | 1 if r > 0     | 1      | regParam (entries above 0)    |

`WeightedALS` has a target and a weight for each entry, so the objectives of all these libraries are special cases of
it. A setting that the other side cannot express is refused with the reason.

For ratings c = 1 and w = 0:

| model                | t                      | ridge: n stored    |
|----------------------|------------------------|--------------------|
| fastals.ExplicitALS  | r, or r - mean, biases | regularization n^v |
| cmfrec CMF           | r, or r - mean, biases | lambda_ (n)        |
| LensKit BiasedMF     | r - damped means       | regularization n   |
| Spark                | r                      | regParam n         |

Biases are learned together with the factors. Damped means (`damped_means`) are subtracted from the ratings before.

Side information and L1 penalties are not translated.
"""

from .ours import to_cmfrec, to_implicit, to_irspack, to_lenskit, to_lenskit_biased, to_spark
from .terms import Translation
from .theirs import (
    DampedMeans,
    damped_means,
    from_cmfrec_explicit,
    from_cmfrec_implicit,
    from_implicit,
    from_irspack,
    from_lenskit,
    from_lenskit_biased,
    from_spark,
)

__all__ = [
    "DampedMeans",
    "Translation",
    "damped_means",
    "from_cmfrec_explicit",
    "from_cmfrec_implicit",
    "from_implicit",
    "from_irspack",
    "from_lenskit",
    "from_lenskit_biased",
    "from_spark",
    "to_cmfrec",
    "to_implicit",
    "to_irspack",
    "to_lenskit",
    "to_lenskit_biased",
    "to_spark",
]
