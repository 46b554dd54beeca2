"""Spaces and pruning for Optuna: ranges around the defaults, best trials that come back, trials that end early."""

import sys

import pytest

import fastals
from fastals import ExplicitALS, ImplicitALS, WeightedALS
from fastals.data import split_random, synthetic
from fastals.tuning import PruningCallback, optuna_space
from fastals.tuning.spaces import SPACES, default_grid

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'fastals[tune]'")
optuna.logging.set_verbosity(optuna.logging.ERROR)

TRAIN, VALIDATION = split_random(synthetic(60, 40, 1_200, random_state=0), random_state=0)


def study(pruner=None, direction="maximize"):
    return optuna.create_study(
        direction=direction, sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner or optuna.pruners.NopPruner()
    )


@pytest.mark.parametrize("model", [ImplicitALS(), ExplicitALS(), WeightedALS(), ImplicitALS(regularization=(2.0, 5.0))])
def test_a_trial_stays_within_what_the_grid_spans(model):
    grid = default_grid(model, TRAIN)
    trials = study()
    for _ in range(20):
        chosen = optuna_space(trials.ask(), model, TRAIN)
        assert chosen.keys() == grid.keys()
        for name, values in grid.items():
            pairs = (
                zip(chosen[name], zip(*values, strict=True), strict=True) if isinstance(chosen[name], tuple) else None
            )
            for value, candidates in pairs or [(chosen[name], values)]:
                assert min(candidates) <= value <= max(candidates)
        type(model)().set_params(**chosen)


def test_the_best_trial_gives_its_parameters_again():
    seen, trials = [], study()

    def objective(trial):
        seen.append(optuna_space(trial, ImplicitALS(), TRAIN))
        return -len(seen)

    trials.optimize(objective, n_trials=3)
    assert optuna_space(trials.best_trial, ImplicitALS(), TRAIN) == seen[0] != seen[1]


def test_tables_name_their_columns():
    table = {"who": ["a", "a", "b"], "what": ["x", "y", "y"]}
    chosen = optuna_space(study().ask(), ImplicitALS(), table, user="who", item="what")
    assert set(chosen) == set(SPACES[ImplicitALS].multiples)


def test_every_score_is_told_and_the_best_state_kept():
    trial = study().ask()
    model = ImplicitALS(factors=4, iterations=5, random_state=0)
    model.fit(TRAIN, validation=VALIDATION, patience=5, callback=PruningCallback(trial))
    told = trial.study.trials[0].intermediate_values
    assert list(told) == [0, 1, 2, 3, 4]
    assert list(told.values()) == model.validation_history_


def test_a_pruned_trial_ends_its_fit():
    trials = study(optuna.pruners.ThresholdPruner(lower=2.0))  # no score is so high

    def objective(trial):
        ImplicitALS(factors=4, random_state=0).fit(TRAIN, validation=VALIDATION, callback=PruningCallback(trial))
        raise AssertionError("the fit went on")

    trials.optimize(objective, n_trials=1)
    assert trials.trials[0].state == optuna.trial.TrialState.PRUNED
    assert list(trials.trials[0].intermediate_values) == [0]


def test_a_fit_without_validation_is_told_so():
    with pytest.raises(ValueError, match=r"^PruningCallback needs scores: call fit with validation="):
        ImplicitALS(factors=2).fit(TRAIN, callback=PruningCallback(study().ask()))


def test_without_optuna_the_message_has_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'fastals\[tune\]'$"):
        PruningCallback(None)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"^model must be an ImplicitALS, ExplicitALS or WeightedALS, got Popularity$"):
        optuna_space(None, fastals.evaluation.Popularity(), TRAIN)
