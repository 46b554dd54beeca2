"""Item-kNN is what `implicit` has, which counts the item itself among its K."""

import numpy as np
import pytest
import scipy.sparse as sp
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender

from fastals.evaluation import ItemKNN

pytestmark = pytest.mark.filterwarnings("default")
PEERS = {"cosine": CosineRecommender, "tfidf": TFIDFRecommender, "bm25": BM25Recommender}


@pytest.mark.parametrize("weighting", PEERS)
def test_similarities_and_recommendations(weighting: str) -> None:
    rng = np.random.default_rng(0)
    R = sp.random(300, 120, 0.1, "csr", np.float64, rng, lambda n: 5 * rng.random(n))  # no two similarities are equal
    ours, theirs = ItemKNN(10, weighting).fit(R), PEERS[weighting](K=11)  # type: ignore[arg-type]
    theirs.fit(R, show_progress=False)
    similarity = theirs.similarity.tolil()
    itself = similarity.diagonal()
    similarity.setdiag(0)
    # With BM25 an item may be less like itself than like its ten neighbours; then implicit keeps an eleventh.
    kept = itself != 0
    np.testing.assert_allclose(ours.similarity_.toarray()[kept], similarity.toarray()[kept], rtol=1e-12)
    if kept.all():
        ids, scores = ours.recommend(n=5)
        their_ids, their_scores = theirs.recommend(np.arange(300), R, N=5)
        np.testing.assert_array_equal(ids, their_ids)
        np.testing.assert_allclose(scores, their_scores, rtol=1e-6)
    assert kept.mean() > 0.9
