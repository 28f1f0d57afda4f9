"""The search's memory: a file, which the same command goes on from. What is tried next is optuna's to suggest."""

from pathlib import Path

import optuna
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from packager.quiet import quiet
from packager.tune.front import Record
from packager.tune.plan import Plan
from packager.tune.space import Space
from runner import codec
from runner.errors import UsageError

RECORD = "record"
AT_RANDOM = 8
"""Trials before the sampler looks at what has been found."""


class Study:
    """One search among those in a file, by the key of what decides its trials."""

    def __init__(self, path: Path, key: str, seed: int) -> None:
        """Open it, or begin it. Raises UsageError where the file cannot be used."""
        self._key, self._seed = key, seed
        try:
            with quiet():
                self._study = optuna.create_study(
                    storage=JournalStorage(JournalFileBackend(str(path))),
                    study_name=key,
                    directions=["minimize", "minimize"],
                    load_if_exists=True,
                )
        except OSError as error:
            raise UsageError(f"cannot be written: {error.strerror}", where=str(path), advice="another -o") from None
        except (ValueError, KeyError, TypeError) as error:
            what = f"is no record of a search, or a damaged one: {error}"
            raise UsageError(what, where=str(path), advice="move it away, and the search begins anew") from None

    def records(self) -> tuple[Record, ...]:
        """Return the trials that came to an end, also in earlier runs, in turn."""
        ended = (trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished())
        return tuple(codec.structure(Record, trial.user_attrs[RECORD]) for trial in ended if RECORD in trial.user_attrs)

    def ask(self, space: Space) -> tuple[optuna.Trial, Plan]:
        """Return the next trial.

        Each draws from a generator seeded by how many have ended: a search that was interrupted and goes on tries the
        same as one that was not.
        """
        ended = len(self.records())
        with quiet():
            seed = int(codec.digest([self._seed, ended])[:8], 16)
            self._study.sampler = TPESampler(seed=seed, n_startup_trials=AT_RANDOM)
            if not ended:
                self._study.enqueue_trial(space.first())
            trial = self._study.ask()
            return trial, space.suggest(trial)

    def tell(self, trial: optuna.Trial, record: Record, values: tuple[float, float] | None) -> None:
        """Write down how a trial ended; one without values counts as bad where the next is suggested."""
        with quiet():
            trial.set_user_attr(RECORD, codec.unstructure(record))
            state = TrialState.PRUNED if values is None else TrialState.COMPLETE
            self._study.tell(trial, values, state=state)

    def forget(self, trial: optuna.Trial) -> None:
        """Close a trial that was interrupted: it will be suggested again."""
        with quiet():
            self._study.tell(trial, state=TrialState.FAIL)
