"""Wrong calls: mypy and pyright must refuse each line that is marked, and no other. Nobody runs this file."""

import numpy as np

import fastals
from fastals import ImplicitALS, Interactions
from fastals.datasets import split_leave_last_out
from fastals.evaluation import Popularity, evaluate, evaluate_ratings
from fastals.plots import embedding
from fastals.tuning import grid_search

R = np.eye(3)
model = ImplicitALS(factors=2).fit(R)
ImplicitALS(solver="lu")  # refused
ImplicitALS(dtype="float16")  # refused
ImplicitALS(factors="64")  # refused
ImplicitALS(rank=64)  # refused
model.fit("x.csv")  # refused
model.fit(3)  # refused
model.fit({"who": [1], "what": [2]}, usr="who", item="what")  # refused
model.recommend(0, n="ten")  # refused
model.recommend(0, unknown="mean")  # refused
model.predict(0, 0, unknown="ignore")  # refused
model.predict(0, 0, clip=5)  # refused
model.recommend_frame(0, frame="excel")  # refused
R = model.user_factors  # refused
fastals.load(3)  # refused
Interactions(R, missing="none")  # refused
split_leave_last_out(R, ties="last")  # refused
evaluate(Popularity().fit(R), R, metrics=["recal"])  # refused
evaluate("model", R)  # refused
evaluate_ratings(model, R, ["ndcg"])  # refused
grid_search(model, {"factors": 8}, (R, R))  # refused
grid_search(model, {"factors": [8]}, (R, R), metric=10)  # refused
embedding(model, side="left")  # refused
