import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from bench import (
    bench_quality,
    bench_store,
    measured,
    out_of_core,
    problems,
    report,
    scale_model,
    serial,
    spaces,
    start,
)
from bench.bench_index import recall
from bench.objective import gradient, loss
from bench.problems import Problem
from fastals import ImplicitALS


@pytest.fixture
def problem() -> Problem:
    rng = np.random.default_rng(0)
    R = sp.random(7, 5, 0.4, "csr", np.float32, rng, lambda n: rng.integers(1, 4, n))
    return Problem("small", R, alpha=2.0, regularization=0.5)


@pytest.fixture
def factors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((7, 3)), rng.standard_normal((5, 3))


def _obvious_loss(problem: Problem, X: np.ndarray, Y: np.ndarray) -> float:
    R = problem.R.toarray().astype(np.float64)
    squares = (1.0 + problem.alpha * R) * ((R > 0) - X @ Y.T) ** 2
    return squares.sum() + problem.regularization * ((X**2).sum() + (Y**2).sum())


def test_loss(problem: Problem, factors: tuple[np.ndarray, np.ndarray]) -> None:
    assert loss(problem, *factors) == pytest.approx(_obvious_loss(problem, *factors), rel=1e-14)


def test_loss_of_float32_factors_is_summed_in_float64(problem: Problem, factors: tuple[np.ndarray, np.ndarray]) -> None:
    single = [side.astype(np.float32) for side in factors]
    double = [side.astype(np.float64) for side in single]
    assert loss(problem, *single) == pytest.approx(loss(problem, *double), rel=1e-14)


def test_gradient(problem: Problem, factors: tuple[np.ndarray, np.ndarray]) -> None:
    """Exact for a quadratic: central differences in one side at a time have no remainder."""
    X, Y = factors
    of_users, of_items = gradient(problem, X, Y)
    direction = np.random.default_rng(2)
    dX, dY = direction.standard_normal(X.shape), direction.standard_normal(Y.shape)
    along_users = _obvious_loss(problem, X + dX, Y) - _obvious_loss(problem, X - dX, Y)
    along_items = _obvious_loss(problem, X, Y + dY) - _obvious_loss(problem, X, Y - dY)
    assert 4 * np.sum(of_users * dX) == pytest.approx(along_users, rel=1e-12)
    assert 4 * np.sum(of_items * dY) == pytest.approx(along_items, rel=1e-12)


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTALS_DATA", str(tmp_path))
    monkeypatch.setattr(problems, "CACHE", tmp_path / "cache")
    return tmp_path


@pytest.mark.parametrize("header", ["userID\tartistID\tweight\n", "2\n3\n"])
def test_lastfm(data_folder: Path, header: str) -> None:
    (data_folder / "lastfm-2k").mkdir()
    (data_folder / "lastfm-2k" / "user_artists.dat").write_text(header + "2\t51\t1\n2\t60\t7\n9\t51\t352698\n")
    R = problems.load("lastfm-2k").R
    weights = np.log([[2.0, 8.0], [352699.0, 1.0]])
    np.testing.assert_allclose(R.toarray(), 3 * weights / weights.sum(), rtol=1e-6)
    assert R.dtype == np.float32


def test_ml_1m(data_folder: Path) -> None:
    (data_folder / "ml-1m-implicit").mkdir()
    (data_folder / "ml-1m-implicit" / "train.txt").write_text("0 2 0\n1\n2 1\n")
    np.testing.assert_array_equal(problems.load("ml-1m").R.toarray(), [[1, 0, 1], [0, 0, 0], [0, 1, 0]])


def test_absent_data_is_said(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(problems.UnavailableError, match=r"train\.txt does not exist"):
        problems.load("ml-1m")
    monkeypatch.delenv("FASTALS_DATA")
    with pytest.raises(problems.UnavailableError, match="FASTALS_DATA is not set"):
        problems.load("lastfm-2k")


def _fit_run(contender: str, turn_seconds: float, iterations: int | None, factors: int = 64) -> report.Run:
    return {
        "stats": {"median": turn_seconds},
        "extra_info": {
            "problem": "ml-1m",
            "factors": factors,
            "contender": contender,
            "iteration_seconds": [turn_seconds / 4, turn_seconds / 2, turn_seconds / 2],
            "iterations_to_target": iterations,
            "memory": 12_345_678,
            "threads": 2,
            "cpu": "Some CPU",
            "versions": {"python": "3.12.1", "numpy": "2.0"},
        },
    }


RUNS = [
    *(_fit_run("fastals-auto", seconds, 5) for seconds in (0.2, 9.0, 0.1)),
    *(_fit_run("irspack-cg", seconds, 9) for seconds in (0.5, 0.4, 0.3)),
    _fit_run("implicit-cg", 0.3, None),
    _fit_run("irspack-cg", 120.0, 9, factors=128),
]


def test_tables_hold_medians_of_turns_and_ratios() -> None:
    assert report.time_to_loss_table(RUNS).splitlines()[2:] == [
        "| ml-1m, k = 64 | **0.200 (5)** | not reached | 0.400 (9) | 2.00x |",
        "| ml-1m, k = 128 | - | - | **120 (9)** | - |",
    ]
    assert report.fastest_table([*RUNS, _fit_run("fastals-cg", 0.1, 6)]).splitlines() == [
        "|  | fastals | implicit | irspack | ahead of best peer |",
        "| --- | --- | --- | --- | --- |",
        "| ml-1m, k = 64 | **0.100** (6, cg) | not reached | 0.400 (9, cg) | 4.00x |",
        "| ml-1m, k = 128 | - | - | **120** (9, cg) | - |",
    ]
    assert report.iteration_table(RUNS).splitlines()[2:] == [
        "| ml-1m, k = 64 | **0.100** | 0.150 | 0.200 | 1.50x |",
        "| ml-1m, k = 128 | - | - | **60.0** | - |",
    ]
    assert report.memory_table(RUNS).splitlines()[0] == (
        "|  | fastals auto | implicit cg | irspack cg | ahead of best peer |"
    )
    assert "12.3" in report.memory_table(RUNS)
    assert "| processor | Some CPU |" in report.machine_table(RUNS)


def test_kernels_are_compared_within_a_turn() -> None:
    """The machine halves its speed in turn 1: the kernel's share of the peak stays."""
    runs = [
        {"stats": {"median": seconds}, "extra_info": {"kernel": name, "factors": k, "flops": 1e9, "turn": turn}}
        for turn, slowness in enumerate((1.0, 2.0, 1.0))
        for name, k, seconds in ((report.PEAK, None, 0.01 * slowness), ("Gram", 64, 0.02 * slowness))
    ]
    assert report.kernel_table(runs).splitlines()[2:] == [
        "| sgemm 2048 | 100 | 100% |",
        "| Gram, k = 64 | 50.0 | 50% |",
    ]


def _start_run(task: str, turn: int, seconds: float, functions: dict[str, float] | None = None) -> report.Run:
    info = {"start": task, "turn": turn, "memory": int(seconds * 1e8), "functions": functions}
    return {"stats": {"median": seconds}, "extra_info": info}


def test_a_start_is_compared_within_a_turn_and_compilation_is_a_row_of_its_own() -> None:
    """The machine halves its speed in turn 1: ratios stay."""
    once = {
        "import_numba": 0.2,
        "import_numba_and_sparse": 0.4,
        "import_fastals": 0.44,
        "first_call": 0.25,
        "first_fit": 0.4,
    }
    assert set(once) == set(start.TASKS) == set(report.STARTS)
    cold = {"_inner": 1.5, "solve": 9.0, "small": 0.05, "smaller": 0.02}
    runs = [_start_run("first_call", -1, 0.5), _start_run("first_fit", -1, 12.0, cold)]
    for turn, slowness in enumerate((1.0, 2.0, 1.0)):
        runs += [_start_run(task, turn, seconds * slowness, {}) for task, seconds in once.items()]
    assert report.start_table([*RUNS, *runs]).splitlines()[2:] == [
        "| import numba | 0.200 |  | 20.0 |",
        "| import numba, scipy.sparse | 0.400 |  | 40.0 |",
        "| import fastals | 0.440 | 1.10x of import numba, scipy.sparse | 44.0 |",
        "| first call of a function of one line, from Numba's cache | 0.250 | 1.25x of import numba | 25.0 |",
        "| first fit, from Numba's cache | 0.400 | 2.00x of import numba | 40.0 |",
        "| first fit, compiled | 12.0 |  |  |",
    ]
    assert report.compile_table([*RUNS, *runs]).splitlines()[2:] == [
        "| `solve` | 9.00 |",
        "| `_inner` | 1.50 |",
        "| 2 others | 0.0700 |",
    ]


def test_what_a_function_calls_is_not_counted_as_its_own() -> None:
    def happened(name: str, is_start: bool) -> SimpleNamespace:
        return SimpleNamespace(is_start=is_start, data={"dispatcher": SimpleNamespace(__name__=name)})

    recorded = [(0, "solve", True), (1, "dot", True), (3, "dot", False), (4, "dot", True), (5, "dot", False)]
    recorded += [(9, "solve", False), (10, "other", True), (12, "other", False)]
    events = [(float(now), happened(name, is_start)) for now, name, is_start in recorded]
    assert start.own_seconds(events) == {"dot": 3, "solve": 6, "other": 2}


def _serve_run(server: str, task: str, seconds: float, memory: int | None = None) -> report.Run:
    info = {"problem": "ml-1m", "factors": 64, "server": server, "task": task, "memory": memory}
    return {"stats": {"median": seconds}, "extra_info": info}


def test_answers_are_medians_and_memory_is_the_most() -> None:
    runs = [
        *(_serve_run("fastals", "all", seconds, memory) for seconds, memory in ((0.1, 2_000_000), (0.3, 0), (0.2, 0))),
        _serve_run("implicit", "all", 0.8, 20_000_000),
        _serve_run("implicit", "one", 0.001),
        _serve_run("irspack", "one", 0.0005),
        *RUNS,
    ]
    assert report.serve_table(runs).splitlines()[2:] == [
        "| ml-1m, k = 64 | top 10 of all users, s | **0.200** | 0.800 | - | 4.00x |",
        "| ml-1m, k = 64 | peak memory of that, MB | **2.00** | 20.0 | - | 10.0x |",
        "| ml-1m, k = 64 | one user, ms | - | 1.00 | **0.500** | - |",
    ]


def test_indexes_are_listed_with_their_recall() -> None:
    info = {"problem": "ml-1m", "factors": 64, "index": "some index", "recall": 0.98765, "users": 6040}
    runs = [*RUNS, {"stats": {"median": 0.5}, "extra_info": info}]
    assert report.index_table(runs).splitlines()[2:] == ["| ml-1m, k = 64 | some index | 0.9877 | 12,080 |"]


def test_recall_of_an_index_counts_shared_ids() -> None:
    assert recall(np.array([[3, 1], [0, -1]]), np.array([[1, 2], [0, 5]])) == 0.5


def test_rewrite_replaces_only_what_stands_between_the_markers() -> None:
    text = "before\n<!-- table:a -->\nold\n<!-- /table:a -->\nafter <!-- table:b --> <!-- /table:b -->"
    once = report.rewrite(text, "a", "new")
    assert once == text.replace("old", "new")
    assert report.rewrite(once, "a", "new") == once
    with pytest.raises(ValueError, match=r"'c'.*found it 0 times"):
        report.rewrite(text, "c", "new")


def test_every_table_has_one_place() -> None:
    readme, benchmarks = report.README.read_text(), report.BENCHMARKS.read_text()
    for name in (*report.TABLES, *bench_quality.EXPERIMENTS):
        here, there = (readme, benchmarks) if name in report.IN_README else (benchmarks, readme)
        report.rewrite(here, name, "")
        assert f"table:{name} " not in there


@pytest.mark.parametrize(
    ("name", "table"),
    [("store", bench_store.table), ("out-of-core", out_of_core.table), ("serial", serial.table)],
)
def test_kept_figures_are_those_of_the_page(name: str, table: Callable[[list[measured.Record]], str]) -> None:
    page = report.BENCHMARKS.read_text()
    assert report.rewrite(page, name, table(measured.records(name))) == page


def test_a_new_record_replaces_that_of_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "FILE", tmp_path / "measured.json")
    measured.FILE.write_text("{}")
    assert measured.keep("a", "first", {"seconds": 1}) == [{"seconds": 1}]
    measured.keep("a", "second", {"seconds": 2})
    measured.keep("b", "first", {"seconds": 3})
    assert measured.keep("a", "first", {"seconds": 4}) == [{"seconds": 4}, {"seconds": 2}]
    assert measured.records("a") == [{"seconds": 4}, {"seconds": 2}]
    assert measured.records("b") == [{"seconds": 3}]


def test_spans_of_repeated_measurements() -> None:
    assert [measured.span(values) for values in ([], [81], [2.25, 1], [1234.0])] == [
        "",
        "81.0",
        "1.0 to 2.2",
        "1,234.0",
    ]


def test_drawn_candidates_keep_the_ridge_of_the_average_row() -> None:
    train = sp.csr_array(np.ones((4, 6)))
    candidates = spaces.implicit_candidates(20, train)
    assert candidates == spaces.implicit_candidates(20, train)
    for candidate in candidates:
        weight, exponent = candidate["unobserved_weight"], candidate["regularization_exponent"]
        ridges = candidate["regularization"]
        ridge = [r * (n * (1 + weight)) ** (exponent - 1) for r, n in zip(ridges, (6, 4), strict=True)]
        assert ridge[0] == pytest.approx(ridge[1], rel=0.02)  # three figures of each number are kept
        low, high = min(spaces.REGULARIZATIONS), max(spaces.REGULARIZATIONS)
        assert 0.99 * low < ridge[0] < 1.01 * high
        assert min(spaces.UNOBSERVED_WEIGHTS) <= weight <= max(spaces.UNOBSERVED_WEIGHTS)
        ImplicitALS(**candidate)


def test_somebodys_factors_are_ranked_without_what_users_have() -> None:
    train = sp.csr_array(np.array([[1.0, 0, 0], [0, 0, 0]]))
    ids, _ = bench_quality.Factors(np.eye(2), np.array([[9, 1], [2, 3], [5, 2]]), train).recommend(np.arange(2), 3)
    np.testing.assert_array_equal(ids, [[2, 1, -1], [1, 2, 0]])


def test_report_from_results_fills_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"benchmarks": RUNS}))
    files, places = {}, {}
    for file, names in (("README", report.IN_README), ("BENCHMARKS", report.TABLES.keys() - report.IN_README)):
        files[file] = tmp_path / f"{file}.md"
        places[file] = "".join(f"<!-- table:{name} -->\n<!-- /table:{name} -->\n" for name in names)
        files[file].write_text(places[file])
        monkeypatch.setattr(report, file, files[file])
    arguments = ["--only", "fastest", "time-to-loss", "iteration", "--json", str(results)]
    assert report.main([*arguments, "--quick"]) == 0
    assert {name: file.read_text() for name, file in files.items()} == places
    assert report.main(arguments) == 0
    printed = capsys.readouterr().out
    for file, table in (
        ("README", report.fastest_table(RUNS)),
        ("BENCHMARKS", report.time_to_loss_table(RUNS)),
        ("BENCHMARKS", report.iteration_table(RUNS)),
        ("BENCHMARKS", report.machine_table(RUNS)),
    ):
        assert table in files[file].read_text()
        assert table in printed


def test_short_rows_table_tells_how_time_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "CACHE", tmp_path)
    runs = [
        {"extra_info": {"short_rows": True, "contender": name, "factors": k, "iteration_seconds": [seconds]}}
        for name, k, seconds in (
            ("fastals-auto", 16, 0.1),
            ("fastals-cholesky", 16, 0.2),
            ("fastals-auto", 32, 0.2),
            ("fastals-cholesky", 32, 0.8),
        )
    ]
    lines = report.short_rows_table([*runs, *RUNS]).splitlines()
    assert lines[0] == "| k | fastals auto | exponent | fastals cholesky | exponent |"
    assert lines[2:] == ["| 16 | 0.100 |  | 0.200 |  |", "| 32 | 0.200 | 1.00 | 0.800 | 2.00 |"]
    assert report.short_rows_table(RUNS) == ""


def test_scale_model_counts_what_workers_touch() -> None:
    assert scale_model.touched(10, 1e6) == pytest.approx(10)
    assert scale_model.touched(1e6, 1) == pytest.approx(1, rel=1e-2)
    popularity = np.arange(1, 501.0) ** -scale_model.SKEW
    drawn = np.random.default_rng(0).choice(500, (200, 400), p=popularity / popularity.sum())
    counted = np.mean([len(np.unique(row)) for row in drawn])
    assert scale_model.touched(500, 400) == pytest.approx(counted, rel=0.02)


def test_scale_model_finds_the_constants_of_what_it_was_made_from() -> None:
    constants = np.array([1e-8, 3e-10, 4e-11, 2e-10])
    sizes = [scale_model.Size("", *scale_model.SIZES[name], k) for name in scale_model.SIZES for k in (32, 128, 512)]
    cells = [(size, float(np.dot(scale_model.terms(size), constants))) for size in sizes]
    np.testing.assert_allclose(scale_model.constants(cells), constants, rtol=1e-6)
    np.testing.assert_allclose(scale_model.left_out(cells), 1.0, rtol=1e-6)
    two = scale_model.Machines(1, 2, 1e12, np.inf)
    for size, seconds in cells:  # on as many cores as were measured
        assert scale_model.parts(size, two, constants).total == pytest.approx(seconds)


def test_scale_model_says_what_breaks_first() -> None:
    small, machine = scale_model.Size("", 1e5, 1e4, 1e7, 64), scale_model.Machines(1, 16, 64e9, np.inf)
    assert scale_model.first_limit(small, machine) == "nothing"
    assert "memory for the entries" in scale_model.first_limit(small._replace(entries=1e10), machine)
    assert "factors of 128 GB" in scale_model.first_limit(small._replace(users=5e8), machine)
    assert "int32" in scale_model.first_limit(small._replace(users=3e9), machine)
    slow = scale_model.Machines(8, 16, 64e9, 1e6)
    assert "through the calling process" in scale_model.first_limit(small, slow)
