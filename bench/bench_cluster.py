"""What a half-step on the workers of a Dask cluster takes above one in this process.

python -m bench.bench_cluster [--problems NAME ...] [--factors K ...] [--workers N] [--repeats N]

The workers are processes of this machine, each with its share of the threads. So the computation takes as long as here,
and the difference is what Dask takes: messages, copies and waiting. Fits take turns; an iteration has two half-steps.
"""

import argparse
import time

import numpy as np

from bench.machine import THREADS, cpu_model
from bench.problems import UnavailableError, load


def iterations(fit) -> list[float]:
    """Return the seconds of each iteration of a fit but the first, in which workers are sent their rows."""
    at: list[float] = []
    fit(lambda iteration, model: at.append(time.perf_counter()))
    return np.diff(at[:-1]).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=["ml-1m"])
    parser.add_argument("--factors", nargs="+", type=int, default=[32, 64])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    from distributed import Client, LocalCluster

    import fastals

    threads = max(1, THREADS // options.workers)
    print(f"{cpu_model()}, {options.workers} workers of {threads} threads\n")
    print("| data | factors | half-step here, ms | on workers, ms | above, ms |\n| :--- | ---: | ---: | ---: | ---: |")
    local = LocalCluster(options.workers, threads_per_worker=threads, processes=True, dashboard_address=":0")
    with local, Client(local) as client:
        for name in options.problems:
            try:
                R = fastals.ImplicitALS().interactions(load(name).R)
            except UnavailableError as reason:
                print(f"| {name} | {reason} |")
                continue
            for factors in options.factors:
                model = fastals.ImplicitALS(factors, iterations=7, random_state=0)
                here: list[float] = []
                there: list[float] = []
                for repeat in range(options.repeats + 1):
                    times = iterations(lambda callback, model=model, R=R: model.fit(R, callback=callback))
                    spread = iterations(
                        lambda callback, model=model, R=R: fastals.cluster.fit(
                            model, R, client=client, callback=callback
                        )
                    )
                    if repeat:  # the first fits load the compiled functions
                        here += times
                        there += spread
                ours, theirs = (500 * float(np.median(seconds)) for seconds in (here, there))
                print(f"| {name} | {factors} | {ours:.1f} | {theirs:.1f} | {theirs - ours:.1f} |", flush=True)


if __name__ == "__main__":
    main()
