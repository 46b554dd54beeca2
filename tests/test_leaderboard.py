"""The readers of the leaderboard, on small files in the published formats."""

from pathlib import Path

import numpy as np
import pytest

from bench import leaderboard
from fastals.evaluation import Popularity

RATINGS = ["1 10 5", "1 20 3", "2 20 4", "2 10 1", "2 30 2", "3 30 5", "3 10 4"]  # items 10, 20, 30 are 0, 1, 2


def test_ncf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    n = 120  # so that 99 others can be drawn for each user
    lines = [*RATINGS, *(f"4 {100 + item} 3" for item in range(n))]
    (folder / "ratings.txt").write_text("\n".join(lines))
    # User 1 has its held-out item among the others too: it counts once.
    tests = ["(0,1)\t2\t5", "(1,0)\t5\t0", "(2,2)\t1\t5", "(3,7)\t1\t2"]
    (folder / "ml-1m.test.negative").write_text("\n".join(tests))
    search, test = leaderboard.ncf(tmp_path)
    assert test.train.nnz == len(lines) - 4
    assert np.flatnonzero(test.train.toarray()[0]).tolist() == [0]
    assert np.flatnonzero(test.train.toarray()[1]).tolist() == [1, 2]
    assert search.train.nnz == test.train.nnz - 4
    assert (search.validation.toarray() * test.train.toarray() == search.validation.toarray()).all()

    class ByNumber:
        """Ranks items by falling number."""

        def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
            return -np.asarray(items, float)

    scores = test.score(ByNumber())
    assert scores["hit_rate@10"] == 1.0
    # Ranks: item 1 before 2 and 5; 0 before 5; 2 behind 1; 7 behind 1 and 2.
    assert scores["ndcg@10"] == pytest.approx((1 + 1 + 1 / np.log2(3) + 1 / np.log2(4)) / 4)


def test_files_of_liang(tmp_path: Path) -> None:
    folder = tmp_path / "ml-20m-liang"
    folder.mkdir()
    (folder / "unique_sid.txt").write_text("\n".join("abcd"))
    for name, pairs in {
        "train": [(0, 0), (0, 1), (1, 1), (1, 3)],
        "validation_tr": [(2, 0)],
        "validation_te": [(2, 1)],
        "test_tr": [(3, 1), (4, 0)],
        "test_te": [(3, 3), (4, 1)],
    }.items():
        (folder / f"{name}.csv").write_text("uid,sid\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    search, test = leaderboard.liang(tmp_path)
    assert search.train.shape == test.train.shape == (2, 4)

    class Second:
        """Recommends item 1 first, then item 3."""

        def recommend(self, rows, n, *, fold_in):
            assert fold_in and rows.shape == ((1, 4) if rows.nnz == 1 else (2, 4))
            return np.tile([1, 3], (rows.shape[0], 1)), np.tile([2.0, 1.0], (rows.shape[0], 1))

    assert search.score(Second())["ndcg@100"] == 1.0


def test_lists_with_a_validation_part(tmp_path: Path) -> None:
    folder = tmp_path / "beauty"
    folder.mkdir()
    for name, pairs in {"train": [(0, 0), (1, 1), (2, 0)], "valid": [(0, 1)], "test": [(1, 0), (2, 2)]}.items():
        (folder / f"{name}.txt").write_text("".join(f"{user} {item} 1\n" for user, item in pairs))
    search, test = leaderboard.given_split("beauty")(tmp_path)
    assert search.train.shape == test.train.shape == (3, 3)
    assert test.train.toarray().tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    # Popularity ranks item 0 first for user 1, and for user 2 item 1, then item 2.
    assert test.score(Popularity().fit(test.train))["ndcg@20"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_a_board_without_its_files_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(leaderboard.runnable(tmp_path, ["gowalla"])) == []
    assert "gowalla/train.txt, gowalla/test.txt" in capsys.readouterr().out
