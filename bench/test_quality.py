"""Our metrics are those of irspack and scikit-learn where they define the same thing."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastals.evaluation import ranking_metrics, user_ranking_metrics

# The peers' deprecations are theirs.
pytestmark = pytest.mark.filterwarnings("default")

N_USERS, N_ITEMS = 40, 25
# A few hundred terms of size 1 at most, summed in another order.
CLOSE = {"rtol": 1e-13, "atol": 1e-13}


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return np.random.default_rng(0).random((N_USERS, N_ITEMS))


@pytest.fixture(scope="module")
def relevant() -> np.ndarray:
    cells = np.random.default_rng(1).random((N_USERS, N_ITEMS)) < 0.2
    cells[:, 0] = True  # irspack and scikit-learn have other rules for users without anything
    return cells


@pytest.mark.parametrize("k", [1, 5, 20, N_ITEMS])
def test_irspack(scores: np.ndarray, relevant: np.ndarray, k: int) -> None:
    from irspack.evaluation import Evaluator

    ours = ranking_metrics(np.argsort(-scores, axis=1)[:, :k], relevant.astype(float))
    names = {"hit_rate": "hit", "ndcg": "ndcg", "precision": "precision"}
    for recall_with_cutoff, recall in ((False, "recall"), (True, "capped_recall")):
        evaluator = Evaluator(
            sp.csr_matrix(relevant.astype(float)), cutoff=k, recall_with_cutoff=recall_with_cutoff, n_threads=1
        )
        theirs = evaluator.get_score_from_score_matrix(scores)
        for name, their_name in (names | {recall: "recall"}).items():
            np.testing.assert_allclose(ours[name], theirs[their_name], **CLOSE, err_msg=name)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_ndcg_of_scikit_learn(scores: np.ndarray, relevant: np.ndarray, k: int) -> None:
    from sklearn.metrics import ndcg_score

    ours = ranking_metrics(np.argsort(-scores, axis=1), relevant.astype(float), k, ["ndcg"])["ndcg"]
    np.testing.assert_allclose(ours, ndcg_score(relevant, scores, k=k), **CLOSE)


def test_whole_lists_of_scikit_learn(scores: np.ndarray, relevant: np.ndarray) -> None:
    from sklearn.metrics import label_ranking_average_precision_score, roc_auc_score

    ours = user_ranking_metrics(np.argsort(-scores, axis=1), relevant.astype(float))
    np.testing.assert_allclose(ours["map"].mean(), label_ranking_average_precision_score(relevant, scores), **CLOSE)
    theirs = [roc_auc_score(*rows) for rows in zip(relevant, scores, strict=True)]
    np.testing.assert_allclose(ours["auc"], theirs, **CLOSE)
