"""Spark's ALS and ours at equal loss: `python -m bench.bench_spark [--problems NAME ...] [--factors K ...] [--quick]`.

Spark (pyspark, local mode, a Java is needed) trains for some iterations. Ours trains for the fewest iterations that end
at a loss no higher, by the same function. Then both take turns. The clock of each runs from data in memory, a cached
DataFrame and a CSR matrix, to factors. The table in docs/benchmarks.md is rewritten, unless `--quick`.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from bench.machine import THREADS, cpu_model, cpu_seconds
from bench.measured import Record, keep
from bench.problems import load
from bench.report import _number, _table, fill
from bench.same_bits import problems

# Chosen before anything was measured. `regParam` is Spark's default for ratings. For implicit feedback alpha is that of
# the other benchmarks, and 0.01 times the 133 interactions of a mean user of MovieLens 1M is near their ridge of 1.
PARAMS: dict[bool, dict[str, Any]] = {
    False: {"implicitPrefs": False, "regParam": 0.1},
    True: {"implicitPrefs": True, "regParam": 0.01, "alpha": 10.0},
}
ITERATIONS = {"ml-1m": 10, "synthetic-20m": 3}  # of Spark
BLOCKS = (2, 4)  # numbers of blocks of users and of items that are tried
MOST_ITERATIONS = 40


@contextmanager
def session(memory: str) -> Iterator[Any]:
    """Start a Spark in a JVM of its own, with a thread a core, and end it."""
    from pyspark.sql import SparkSession

    with tempfile.TemporaryDirectory(prefix="bench-spark-") as folder:
        options = {
            "spark.driver.memory": memory,
            # The module has the vector instructions that Spark's BLAS takes where no native one is installed. Without
            # checkpoints each iteration lengthens what is serialised recursively: 25 overflow a stack of usual size.
            "spark.driver.extraJavaOptions": "--add-modules=jdk.incubator.vector -XX:+UseParallelGC -Xss64m",
            "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
            "spark.driver.host": "127.0.0.1",
            "spark.local.dir": folder,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "ERROR",
        }
        builder = SparkSession.builder.master(f"local[{THREADS}]").config(map=options)
        spark = builder.getOrCreate()
        try:
            yield spark
        finally:
            spark.stop()


class Timing(NamedTuple):
    """Seconds of a fit, its CPU seconds, and how many cores other processes kept busy meanwhile."""

    seconds: float
    cpu: float
    others: float


class Watch:
    """A clock for work of this process and of some others."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._begun = self._now()

    def _now(self) -> tuple[float, float, float]:
        own = time.process_time() + sum(map(cpu_seconds, self._pids))
        return time.perf_counter(), own, cpu_seconds() - own

    def taken(self) -> Timing:
        """Return what has been taken since the watch was made."""
        wall, own, others = (after - before for before, after in zip(self._begun, self._now(), strict=True))
        return Timing(wall, own, max(0.0, others / wall))


class Spark:
    """Spark's ALS on the entries of a matrix, which it holds in memory."""

    def __init__(self, spark: Any, R: sparse.csr_matrix, factors: int, **params: Any) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._spark, self._shape, self._params = spark, R.shape, {"rank": factors, **params}
        cells = R.tocoo()
        columns = {"user": cells.row.astype("i4"), "item": cells.col.astype("i4"), "rating": cells.data.astype("f4")}
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "entries.parquet"))
            parquet.write_table(pa.table(columns), path)
            self._data = spark.read.parquet(path).repartition(THREADS).cache()
            assert self._data.count() == R.nnz
        self.blocks = BLOCKS[0]

    def fit(self, iterations: int) -> tuple[Timing, np.ndarray, np.ndarray]:
        """Train from the start; return what it took, and the factors of users and of items."""
        from pyspark.ml.recommendation import ALS

        als = ALS(
            **self._params,
            maxIter=iterations,
            numUserBlocks=self.blocks,
            numItemBlocks=self.blocks,
            userCol="user",
            itemCol="item",
            ratingCol="rating",
            checkpointInterval=-1,
            seed=0,
        )
        gc.collect()
        self._spark._jvm.System.gc()  # what the last fit left
        watch = Watch(self.pid)
        model = als.fit(self._data)
        timing = watch.taken()
        sides = zip((model.userFactors, model.itemFactors), self._shape, strict=True)
        return timing, *(self._factors(frame, n) for frame, n in sides)

    def _factors(self, frame: Any, n: int) -> np.ndarray:
        """Return factors by number; Spark has none for users and items without entries."""
        table = frame.toArrow()
        factors = np.zeros((n, self._params["rank"]), np.float32)
        lists = table["features"].combine_chunks()
        factors[table["id"].to_numpy()] = lists.flatten().to_numpy().reshape(-1, factors.shape[1])
        return factors

    def choose_blocks(self) -> None:
        """Take the number of blocks with which fits of two iterations are quicker; the first fits warm up."""
        best: dict[int, float] = {}
        for blocks in BLOCKS * 3:
            self.blocks = blocks
            best[blocks] = min(best.get(blocks, np.inf), self.fit(2)[0].seconds)
        self.blocks = min(best, key=best.__getitem__)
        print("blocks:", {blocks: f"{seconds:.2f} s" for blocks, seconds in best.items()}, flush=True)

    def release(self) -> None:
        """Give back the memory of the entries."""
        self._data.unpersist(blocking=True)

    @property
    def pid(self) -> int:
        """The process of the JVM."""
        return int(self._spark._jvm.java.lang.ProcessHandle.current().pid())


class Ours:
    """Our ALS with the objective of Spark's parameters."""

    def __init__(self, R: sparse.csr_matrix, factors: int, **params: Any) -> None:
        import fastals
        from fastals.compat import translate

        translation = translate.from_spark(rank=factors, **params)
        self._R, self._params = R, translation.params
        self._kind = getattr(fastals, translation.model)
        # In float64, so that the numbers of the objective are not rounded.
        self._judge = self._model(0, dtype="float64")
        self._cells = self._judge.interactions(R)
        self._judge.fit(self._cells)

    def _model(self, iterations: int, **params: Any) -> Any:
        return self._kind(**self._params | {"iterations": iterations, "n_threads": THREADS, "random_state": 0} | params)

    def fit(self, iterations: int) -> tuple[Timing, np.ndarray, np.ndarray]:
        """Train from the start; return what it took, and the factors of users and of items."""
        model = self._model(iterations)
        gc.collect()
        watch = Watch()
        model.fit(self._R)
        return watch.taken(), model.user_factors_, model.item_factors_

    def judging(self, X: np.ndarray, Y: np.ndarray) -> Any:
        """Return a model in float64 that holds anybody's factors."""
        self._judge.user_factors_, self._judge.item_factors_ = X.astype(np.float64), Y.astype(np.float64)
        return self._judge

    def loss(self, X: np.ndarray, Y: np.ndarray) -> float:
        """Return the objective of anybody's factors, in float64."""
        return float(self.judging(X, Y).loss(self._cells))

    def iterations_to(self, target: float) -> tuple[int, float]:
        """Return the fewest iterations that end at a loss of at most the target, and that loss."""
        for iterations in range(1, MOST_ITERATIONS + 1):
            _, X, Y = self.fit(iterations)
            reached = self.loss(X, Y)
            if reached <= target:
                return iterations, reached
        raise RuntimeError(f"the loss {target} of Spark is not reached within {MOST_ITERATIONS} iterations: {reached}")


def matrix(name: str, implicit: bool) -> sparse.csr_matrix:
    """Return a problem's interactions; those of ml-1m have values only where they are ratings."""
    if name == "ml-1m" and not implicit:
        return sparse.csr_matrix(dict(problems())[name], dtype=np.float32)
    return load(name).R


def measure(spark: Any, name: str, implicit: bool, factors: int, turns: int, blocks: int | None) -> Record:
    """Time both in turns and return what came out."""
    R, params = matrix(name, implicit), PARAMS[implicit]
    theirs, ours = Spark(spark, R, factors, **params), Ours(R, factors, **params)
    iterations = ITERATIONS[name]
    if blocks is None:
        theirs.choose_blocks()
    else:
        theirs.blocks = blocks
        theirs.fit(1)
    timings: dict[str, list[Timing]] = {"spark": [], "fastals": []}
    losses, our_iterations, our_loss = [], 0, np.inf
    for _ in range(turns):
        timing, X, Y = theirs.fit(iterations)
        losses.append(ours.loss(X, Y))
        if our_loss > losses[-1]:  # sums of Spark may differ in their last digits from turn to turn
            our_iterations, our_loss = ours.iterations_to(losses[-1])
        timings["spark"].append(timing)
        timings["fastals"].append(ours.fit(our_iterations)[0])
        print(name, implicit, factors, {side: taken[-1] for side, taken in timings.items()}, flush=True)
    theirs.release()
    java = spark._jvm.System.getProperty("java.version")
    return {
        "problem": name,
        "implicit": implicit,
        "factors": factors,
        **{
            field: {side: [getattr(one, field) for one in taken] for side, taken in timings.items()}
            for field in ("seconds", "cpu")
        },
        "iterations": {"spark": iterations, "fastals": our_iterations},
        "loss": {"spark": min(losses), "fastals": our_loss},
        "blocks": theirs.blocks,
        "busy": max(one.others for taken in timings.values() for one in taken),
        "on": f"Spark {spark.version} on Java {java}, {THREADS} threads, {cpu_model()}",
    }


def table(records: list[Record]) -> str:
    """Return the medians of seconds and of ratios within a turn, and what they were measured on."""
    rows = []
    order = {name: place for place, name in enumerate(ITERATIONS)}
    records = sorted(records, key=lambda record: (order[record["problem"]], not record["implicit"], record["factors"]))
    for record in records:
        times, iterations, losses = record["seconds"], record["iterations"], record["loss"]
        wall, cpu = (
            statistics.median(one / other for one, other in zip(*record[field].values(), strict=True))
            for field in ("seconds", "cpu")
        )
        row = [f"{record['problem']}, k = {record['factors']}", "implicit" if record["implicit"] else "explicit"]
        row += [f"{_number(statistics.median(times[side]))} ({iterations[side]})" for side in ("spark", "fastals")]
        row += [str(len(times["spark"])), f"{losses['fastals'] / losses['spark']:.4f}", f"{wall:.0f}x", f"{cpu:.0f}x"]
        rows.append([*row, f"{record['busy']:.2f}"])
    header = ["", "feedback", "Spark, s (iterations)", "fastals, s (iterations)", "turns", "loss / loss of Spark"]
    header += ["ahead of Spark", "in CPU time", "cores that others kept busy, at most"]
    measured_on = "; ".join(dict.fromkeys(record["on"] for record in records))
    return f"{_table(header, rows)}\n\nMeasured with {measured_on}."


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=ITERATIONS, default=list(ITERATIONS))
    parser.add_argument("--feedback", nargs="+", choices=("implicit", "explicit"), default=["implicit", "explicit"])
    parser.add_argument("--factors", nargs="+", type=int, default=[32, 64])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--blocks", type=int, help="of users and of items in Spark; default: the quicker of 2 and 4")
    parser.add_argument("--memory", default="8g", help="of the JVM")
    parser.add_argument("--quick", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    with session(options.memory) as spark:
        for name in options.problems:
            for feedback in options.feedback:
                for factors in options.factors:
                    record = measure(spark, name, feedback == "implicit", factors, options.turns, options.blocks)
                    print(table([record]), flush=True)
                    if not options.quick:
                        fill({"spark": table(keep("spark", f"{name} {feedback} {factors}", record))})


if __name__ == "__main__":
    main()
