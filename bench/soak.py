"""Some threads ask one model at once for a while; every answer must have the bits it has alone.

python -m bench.soak [--seconds 60] [--threads 4] [--problem ml-1m] [--factors 64]
"""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from bench import problems
from bench.servers import model_file


def main(argv: list[str] | None = None) -> int:
    """Run; print how many answers of each kind were right; return a process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--problem", default="ml-1m", choices=problems.READERS)
    parser.add_argument("--factors", type=int, default=64)
    arguments = parser.parse_args(argv)

    import fastals

    R = problems.load(arguments.problem).R
    model = fastals.load(model_file(arguments.problem, arguments.factors))
    rng = np.random.default_rng(0)
    users = rng.integers(0, R.shape[0], 20).tolist()
    batches = [rng.integers(0, R.shape[0], size) for size in (3, 100, 2000)]
    items = rng.integers(0, R.shape[1], 10)
    questions: dict[str, list[Callable[[], np.ndarray]]] = {
        "recommend one": [lambda user=user: model.recommend(user)[1] for user in users],
        "recommend many": [lambda batch=batch: model.recommend(batch)[1] for batch in batches],
        "recommend new": [lambda row=R[[user]]: model.recommend(row, fold_in=True)[1] for user in users],
        "fold in": [lambda rows=R[batch]: model.fold_in_users(rows) for batch in batches],
        "similar items": [lambda: model.similar_items(items)[1]],
        "similar users": [lambda user=user: model.similar_users(user)[1] for user in users],
    }
    wanted = {name: [ask().tobytes() for ask in asks] for name, asks in questions.items()}
    right: Counter[str] = Counter()
    wrong: list[str] = []
    end = time.monotonic() + arguments.seconds

    def use(seed: int) -> None:
        choice = np.random.default_rng(seed)
        while time.monotonic() < end and not wrong:
            name = str(choice.choice(list(questions)))
            which = int(choice.integers(len(questions[name])))
            try:
                same = questions[name][which]().tobytes() == wanted[name][which]
            except Exception as error:  # reported with the rest
                wrong.append(f"{name}: {error!r}")
                return
            if same:
                right[name] += 1
            else:
                wrong.append(f"{name}, question {which}: another answer than alone")

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(arguments.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, count in sorted(right.items()):
        print(f"{name:15} {count:8} right")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
