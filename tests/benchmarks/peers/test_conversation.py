"""A real worker process with a peer written here: it answers, it fails with a reason, it stands still, it is ended."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.peers import conversation
from benchmarks.peers.case import INPUTS, Case
from benchmarks.peers.contenders import Contender
from benchmarks.peers.conversation import Conversation, FailedError

PEER = Contender(name="twice", environment="edgepack", module="twice")
SAMPLES = np.arange(40, dtype=np.float32).reshape(5, 2, 2, 2)


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conversation]:
    monkeypatch.setattr(conversation, "RUNTIMES", "tests.benchmarks.peers")
    np.save(tmp_path / INPUTS, SAMPLES)
    own = tmp_path / "own"
    case = Case(model="m", shape=(2, 2, 2), classes=2, batch=2, threads=1, subject=tmp_path, folder=own)
    found = conversation.start(PEER, case, sys.executable)
    yield found
    found.end()


def test_a_worker_loads_answers_in_whole_batches_and_times_calls(talk: Conversation, tmp_path: Path) -> None:
    assert talk.ask({"do": "build"}, 60) == {"done": True}
    assert talk.ask({"do": "load"}, 60) == {"version": "twice 1.0 on 1 thread"}
    assert talk.ask({"do": "answer", "output": str(tmp_path / "logits.npy")}, 60) == {"done": True}
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), 2 * SAMPLES[:4].reshape(4, 8))
    timed = talk.ask({"do": "time", "warmup_s": 0.0, "timed_s": 0.0}, 60)["samples_ns"]
    assert isinstance(timed, list)
    assert len(timed) == 3
    assert all(each > 0 for each in timed)


def test_what_a_peer_raises_is_told_and_the_worker_lives_on(talk: Conversation) -> None:
    with pytest.raises(FailedError, match=r"^ValueError: there is no request 'dance'$"):
        talk.ask({"do": "dance"}, 60)
    assert talk.ask({"do": "build"}, 60) == {"done": True}


def test_a_worker_that_dies_is_told_by_its_signal(talk: Conversation) -> None:
    talk.ask({"do": "build"}, 60)
    psutil.Process(talk.process.pid).kill()
    with pytest.raises(FailedError, match=r"^died of SIGKILL"):
        talk.ask({"do": "load"}, 60)


def test_a_worker_that_takes_too_long_is_ended(talk: Conversation) -> None:
    talk.ask({"do": "build"}, 60)
    talk.pause()
    with pytest.raises(FailedError, match=r"^took more than 0 s to load$"):
        talk.ask({"do": "load"}, 0.05)
    assert talk.process.returncode is not None


def test_a_paused_worker_stands_still_until_it_goes_on(talk: Conversation) -> None:
    talk.ask({"do": "build"}, 60)
    process = psutil.Process(talk.process.pid)
    talk.pause()
    assert process.status() == psutil.STATUS_STOPPED
    talk.resume()
    assert talk.ask({"do": "build"}, 60) == {"done": True}
