"""Trials of Optuna that end early where they are behind the others. Needs Optuna (`pip install 'fastals[tune]'`)."""

from __future__ import annotations

from typing import Any


class PruningCallback:
    """Tell a trial of Optuna each score of a fit, and end the fit if the study's pruner gives the trial up.

    Pass it as ``fit(R, validation=..., metric=..., callback=PruningCallback(trial))``, and return the best of
    ``validation_history_``. The fit of a pruned trial raises ``optuna.TrialPruned``, which the study expects.

    Parameters
    ----------
    trial : optuna.Trial

    Raises
    ------
    ImportError
        Optuna is not installed.

    Examples
    --------
    >>> from fastals import ImplicitALS
    >>> from fastals.tuning import PruningCallback, optuna_space
    >>> def objective(trial):
    ...     model = ImplicitALS(factors=8, random_state=0).set_params(**optuna_space(trial, ImplicitALS(), train))
    ...     model.fit(train, validation=validation, metric="ndcg@10", callback=PruningCallback(trial))
    ...     return max(model.validation_history_)
    >>> import optuna  # doctest: +SKIP
    >>> optuna.create_study(direction="maximize").optimize(objective, n_trials=20)  # doctest: +SKIP
    """

    def __init__(self, trial: Any) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ImportError("PruningCallback needs Optuna: pip install 'fastals[tune]'") from error
        self.trial, self._pruned = trial, optuna.TrialPruned

    def __call__(self, iteration: int, model: Any) -> None:
        """Tell the trial the newest score; `fit` calls this.

        Parameters
        ----------
        iteration : int
            Counted from 0.
        model : ImplicitALS, ExplicitALS or WeightedALS
            As it is after the iteration.

        Raises
        ------
        optuna.TrialPruned
            The study's pruner gives the trial up.
        ValueError
            The fit has no `validation`.
        """
        scores = getattr(model, "validation_history_", None)
        if scores is None:
            raise ValueError("PruningCallback needs scores: call fit with validation=, the held-out interactions, too")
        self.trial.report(scores[-1], iteration)
        if self.trial.should_prune():
            raise self._pruned(f"after iteration {iteration} with the score {scores[-1]:.6g}")
