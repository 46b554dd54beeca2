"""The data of the jobs: `orders.csv`, as a shop could have it. Put your own file in its place."""

from pathlib import Path

import numpy as np


def write_orders(path: str = "orders.csv") -> str:
    """Write customer, product, stars and day of 6,000 made-up orders, the earliest first."""
    rng = np.random.default_rng(0)
    customers = rng.integers(300, size=6_000)
    among_fifteen = np.minimum(rng.geometric(0.15, size=6_000) - 1, 14)  # the first ones of each kind are popular
    kinds = np.where(rng.random(6_000) < 0.7, customers % 10, rng.integers(10, size=6_000))  # a customer likes one kind
    liked = kinds == customers % 10
    stars = np.clip(np.rint(rng.normal(np.where(liked, 4.6, 2.4), 0.6)), 1, 5).astype(int)
    days = np.datetime64("2026-01-01") + np.arange(6_000) // 25
    lines = [
        f"c{customer},p{10 * number + kind},{star},{day}"
        for customer, number, kind, star, day in zip(customers, among_fifteen, kinds, stars, days, strict=True)
    ]
    Path(path).write_text("\n".join(["customer,product,stars,day", *lines]) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    write_orders()
