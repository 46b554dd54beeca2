"""A search by Optuna, and one by scikit-learn's GridSearchCV."""

import optuna
import polars
from orders import write_orders
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

import fastals
from fastals.compat.sklearn import InteractionsEncoder
from fastals.datasets import split_by_time, without_known
from fastals.evaluation import UserFolds
from fastals.tuning import PruningCallback, optuna_space

orders = polars.read_csv(write_orders("orders.csv"), try_parse_dates=True)
train, validation = split_by_time(orders, 0.2, user="customer", item="product", time="day")
validation = without_known(validation, train)  # what a customer buys again is no recommendation
model = fastals.ImplicitALS(factors=16, random_state=0)


def objective(trial):
    """Fit what the trial proposes; a fit that is behind those of other trials ends early."""
    proposed = fastals.ImplicitALS(**model.get_params()).set_params(**optuna_space(trial, model, train))
    proposed.fit(train, validation=validation, metric="ndcg@10", callback=PruningCallback(trial))
    return max(proposed.validation_history_)


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(objective, n_trials=8)
print(f"Optuna: ndcg@10 {study.best_value:.3f} with {optuna_space(study.best_trial, model, train)}")

ids = InteractionsEncoder(user="customer", item="product")
pipeline = Pipeline([("ids", ids), ("als", model)])
folds = UserFolds(3, user="customer", item="product", random_state=0)
search = GridSearchCV(pipeline, {"als__factors": [8, 16], "als__unobserved_weight": [0.3, 1.0]}, cv=folds).fit(orders)
print(f"GridSearchCV: ndcg@10 {search.best_score_:.3f} with {search.best_params_}")
