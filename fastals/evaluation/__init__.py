"""Metrics of recommendations and of predicted ratings, evaluations of models, and the baselines a model has to beat."""

from .baselines import GlobalMean, ItemBias, Popularity, Random
from .beyond import graded_ndcg, intra_list_diversity, miscalibration, serendipity
from .bootstrap import Evaluation, bootstrap_interval
from .compare import Comparison, compare
from .ease import EASE
from .evaluate import evaluate, evaluate_new_users, evaluate_ratings, evaluate_sampled
from .folds import UserFolds
from .lists import ranking_metrics, user_ranking_metrics
from .metrics import RANKING_METRICS, RATING_METRICS, Hits, mae, rmse, sign_accuracy, weighted_rmse
from .neighbours import ItemKNN, UserKNN
from .protocols import RatingPredictor, Recommender

__all__ = [
    "EASE",
    "RANKING_METRICS",
    "RATING_METRICS",
    "Comparison",
    "Evaluation",
    "GlobalMean",
    "Hits",
    "ItemBias",
    "ItemKNN",
    "Popularity",
    "Random",
    "RatingPredictor",
    "Recommender",
    "UserFolds",
    "UserKNN",
    "bootstrap_interval",
    "compare",
    "evaluate",
    "evaluate_new_users",
    "evaluate_ratings",
    "evaluate_sampled",
    "graded_ndcg",
    "intra_list_diversity",
    "mae",
    "miscalibration",
    "ranking_metrics",
    "rmse",
    "serendipity",
    "sign_accuracy",
    "user_ranking_metrics",
    "weighted_rmse",
]
