"""Explicit ratings by five-fold cross-validation, beside two baselines."""

import statistics

from orders import write_orders

import fastals
from fastals.datasets import split_folds
from fastals.evaluation import GlobalMean, ItemBias, evaluate_ratings

ratings = fastals.read_table(
    write_orders("orders.csv"), user="customer", item="product", value="stars", time="day", duplicates="last"
)
folds = split_folds(ratings, 5, random_state=0)
for model in (GlobalMean(), ItemBias(), fastals.ExplicitALS(factors=8, random_state=0)):
    errors = [evaluate_ratings(model.fit(train), test, ["rmse"])["rmse"] for train, test in folds]
    print(f"{type(model).__name__:12} RMSE {statistics.mean(errors):.3f}, from {min(errors):.3f} to {max(errors):.3f}")
