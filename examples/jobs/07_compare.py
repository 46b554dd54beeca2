"""Evaluation with intervals, beside popularity and the library `implicit`."""

import numpy as np
from implicit.als import AlternatingLeastSquares
from orders import write_orders
from scipy.sparse import csr_matrix

import fastals
from fastals.datasets import split_by_time, without_known
from fastals.evaluation import Popularity, compare

orders = fastals.read_table(write_orders("orders.csv"), user="customer", item="product", time="day")
train, test = split_by_time(orders, 0.2)
test = without_known(test, train)  # what a customer buys again is no recommendation

R = csr_matrix(train.matrix())
theirs = AlternatingLeastSquares(factors=16, random_state=0, num_threads=1)
theirs.fit(R, show_progress=False)


class Implicit:
    """What `compare` asks of any model: lists of item numbers for user numbers, and their scores."""

    def recommend(self, users, n):
        """Recommend what the users do not have."""
        return theirs.recommend(np.asarray(users), R[users], N=n)


models = {
    "fastals": fastals.ImplicitALS(factors=16, random_state=0).fit(train),
    "implicit": Implicit(),
    "popularity": Popularity().fit(train),
}
print(compare(models, test, k=10, metrics=["ndcg", "recall"], train=train))
