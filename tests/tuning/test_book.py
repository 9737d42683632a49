"""Each slot of a study is done exactly once, whoever works and whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.support.studies import book, slots, suggest, work
from uadbench.core.errors import UserError
from uadbench.tuning.storage import RETRIES
from uadbench.tuning.task import StudyTask


def test_groups_share_training_parameters_and_slot_0_is_the_preset(tmp_path: Path) -> None:
    done = book(tmp_path)
    assert work(done) == 6
    trials = done.trials()
    assert trials[0].params == {"lr": 0.5, "t": 3}
    assert [trial.user_attrs["slot"] for trial in trials] == list(range(6))
    lrs = [trial.params["lr"] for trial in trials]
    assert lrs[0] == lrs[1] == lrs[2] != lrs[3] == lrs[4] == lrs[5]
    assert len({trial.params["t"] for trial in trials[:3]}) > 1


def test_an_interrupted_study_goes_on_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = tmp_path / "a", tmp_path / "b"
    work(book(whole, 8))
    for limit in (1, 3, None):
        work(book(parts, 8), limit=limit)
    assert [t.params for t in book(whole, 8).trials()] == [t.params for t in book(parts, 8).trials()]


def test_trials_is_the_total_and_may_grow(tmp_path: Path) -> None:
    assert work(book(tmp_path, 2)) == 2
    assert work(book(tmp_path, 2)) == 0
    assert work(book(tmp_path, 5)) == 3
    assert slots(book(tmp_path, 5), TrialState.COMPLETE) == Counter(range(5))


def test_another_seed_samples_otherwise(tmp_path: Path) -> None:
    for seed in (0, 1):
        work(book(tmp_path / str(seed), 4, seed=seed))
    first, second = ([t.params for t in book(tmp_path / str(s), 4, seed=s).trials()] for s in (0, 1))
    assert first[0] == second[0]
    assert first[1:] != second[1:]


def test_a_released_slot_is_done_with_the_same_parameters(tmp_path: Path) -> None:
    mine = book(tmp_path, 3)
    work(mine, limit=1)
    claimed = mine.claim(0)
    assert isinstance(claimed, optuna.Trial)
    params = suggest(claimed)
    mine.release(claimed)
    work(mine)
    assert slots(mine, TrialState.COMPLETE) == Counter(range(3))
    assert mine.trials()[1].params == params


def test_a_diverged_fit_settles_its_slot_and_frees_its_group(tmp_path: Path) -> None:
    mine = book(tmp_path, 3)
    claimed = mine.claim(None)
    assert isinstance(claimed, optuna.Trial)
    diverged = suggest(claimed)
    claimed.set_user_attr("reason", "diverged")
    mine.finish(claimed, TrialState.FAIL)
    work(mine)
    first, second, third = mine.trials()
    assert first.state == TrialState.FAIL
    assert second.params["lr"] != diverged["lr"]
    assert second.params["lr"] == third.params["lr"]


def test_a_follower_waits_for_its_fit(tmp_path: Path) -> None:
    one, other = book(tmp_path, 4), book(tmp_path, 4)
    leaders = [one.claim(None), other.claim(None)]
    assert [t.user_attrs["slot"] for t in leaders if isinstance(t, optuna.Trial)] == [0, 3]
    assert book(tmp_path, 4).claim(None) == "wait"


def test_the_result_of_one_given_up_for_dead_is_not_counted(tmp_path: Path) -> None:
    slow, quick = book(tmp_path, 1, beat=60, grace=1), book(tmp_path, 1, beat=1, grace=1)
    late = slow.claim(None)
    assert isinstance(late, optuna.Trial)
    suggest(late)
    time.sleep(2.5)  # no heartbeat in all that time
    assert work(quick) == 1
    slow.finish(late, TrialState.COMPLETE, [99.0])
    assert [trial.values for trial in quick.trials()] != [[99.0]]
    assert slots(quick, TrialState.COMPLETE) == Counter([0])


def _work_slowly(folder: Path) -> None:
    work(book(folder, 8), naps=0.3)


def test_a_worker_killed_with_sigkill_loses_and_doubles_nothing(tmp_path: Path) -> None:
    book(tmp_path, 8)
    context = multiprocessing.get_context("spawn")
    victim, other = (context.Process(target=_work_slowly, args=(tmp_path,)) for _ in "ab")
    victim.start()
    mine = book(tmp_path, 8)
    deadline = time.monotonic() + 60
    while not (slots(mine, TrialState.COMPLETE) and slots(mine, TrialState.RUNNING)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    lost = slots(mine, TrialState.RUNNING)
    assert sum(lost.values()) == 1  # its trial still looks as if it ran
    other.start()
    work(mine, naps=0.1)
    other.join(60)
    assert other.exitcode == 0
    assert slots(mine, TrialState.COMPLETE) == Counter(range(8))
    assert slots(mine, TrialState.RUNNING, TrialState.WAITING) == Counter()
    (slot,) = lost
    failed = [t for t in mine.study.get_trials() if t.state == TrialState.FAIL]
    assert [trial.user_attrs["slot"] for trial in failed] == [slot]
    assert mine.trials()[slot].params == {**mine.trials()[slot].params, **failed[0].params}


def test_a_trial_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    for _ in range(RETRIES + 1):
        dying = book(tmp_path, 2, beat=60, grace=1)
        claimed = dying.claim(None)
        while not isinstance(claimed, optuna.Trial):
            time.sleep(0.2)
            claimed = dying.claim(None)
        assert claimed.user_attrs["slot"] == 0
        suggest(claimed)
    time.sleep(2.5)
    mine = book(tmp_path, 2)
    assert work(mine) == 1
    first, second = mine.trials()
    assert first.state == TrialState.FAIL
    assert first.params == {"lr": 0.5, "t": 3}
    assert second.state == TrialState.COMPLETE
    assert slots(mine, TrialState.WAITING, TrialState.RUNNING) == Counter()


def test_a_study_whose_space_has_changed_is_refused(tmp_path: Path) -> None:
    work(book(tmp_path, 2))
    with pytest.raises(UserError, match="another value of the search space of dae") as error:
        book(tmp_path, 2, space="other")
    assert "--study" in str(error.value)
    with pytest.raises(UserError, match="'seed'"):
        book(tmp_path, 2, seed=5)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("no url", "not a database URL"),
        ("sqlite:////proc/nowhere/s.db", "cannot be created|failed"),
        ("sqlite:///file:{folder}/s.db?mode=ro&uri=true", "failed"),
        ("postgresql+none://me:hunter2@localhost:1/db", "failed|driver|no database"),
        ("mysql+pymysql://me:hunter2@localhost:1/db", "failed|driver"),
    ],
)
def test_a_storage_that_cannot_be_used_is_bad_input(tmp_path: Path, address: str, said: str) -> None:
    work(book(tmp_path, 1))
    with pytest.raises(UserError, match=said) as error:
        work(book(tmp_path, 2, storage=address.format(folder=tmp_path)))
    assert "hunter2" not in str(error.value)


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    values = {"method": "dae", "dataset": "d", "store": tmp_path, "name": "s", "folder": tmp_path, "trials": 1}
    task = StudyTask.model_validate({**values, "storage": "postgresql://me:hunter2@host/db"})
    assert "hunter2" not in repr(task)
    assert "hunter2" not in str(task.definition({}, "", ""))
