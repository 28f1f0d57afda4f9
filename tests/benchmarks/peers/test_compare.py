"""One case from the start, and taken up again: what is there is not measured twice."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import compare, record
from benchmarks.peers.case import REFERENCE, Case
from benchmarks.peers.contenders import Contender
from benchmarks.peers.record import Record
from benchmarks.peers.rounds import Plan
from runner.errors import UsageError
from tests.benchmarks.peers.talkers import Script, Talker

CONTENDERS = tuple(Contender(name=name, environment="torch", module=name) for name in ("edgepack", "peer", "broken"))
BLANK = Record(family="resnet18", batch=1, threads=2, device="a CPU", entrants=())
LOGITS = np.array([[1, 0], [0, 1]], np.float32)


class Bench:
    """Scripted contenders on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.said: list[str] = []
        np.save(folder / REFERENCE, LOGITS)
        noisy = np.array([[1, 0], [0.9, 0.8]], np.float32)
        self.scripts = {
            "edgepack": Script(answers=LOGITS),
            "peer": Script(answers=noisy, call_ns=2000),
            "broken": Script(fails_to="build"),
        }

    def case(self, contender: Contender) -> Case:
        own = self.folder / contender.name
        own.mkdir(exist_ok=True)
        return Case(model="m", shape=(3, 8, 8), classes=2, batch=1, threads=2, subject=self.folder, folder=own)

    def start(self, contender: Contender, case: Case) -> Talker:
        assert case.folder.name == contender.name
        self.told.append(f"{contender.name} start")
        return Talker(name=contender.name, script=self.scripts[contender.name], told=self.told)

    def compare(self, rounds: int, begin: Record = BLANK) -> Record:
        return compare.compare(
            compare.resumed(self.folder, begin),
            CONTENDERS,
            Plan(rounds=rounds, passes=2),
            compare.Bench(
                case_of=self.case,
                start_on=self.start,
                keep=lambda found: record.write(found, self.folder),
                say=self.said.append,
            ),
        )


def test_entrants_are_tried_then_rounds_are_measured_and_all_is_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    found = bench.compare(rounds=2)
    edgepack, peer, broken = found.entrants
    assert (edgepack.version, edgepack.snr_db, edgepack.agreement) == ("edgepack 1.0", None, 1.0)
    assert peer.agreement == 0.5
    assert peer.snr_db == pytest.approx(10 * np.log10(2 / (0.9**2 + 0.2**2)), abs=1e-5)
    assert (broken.failed, broken.agreement) == ("cannot build within 900 s", None)
    assert [sorted(each.samples_ns) for each in found.rounds] == [["edgepack", "peer"]] * 2
    assert found.rounds[0].samples_ns["peer"] == (2000, 2002, 2000, 2002)
    assert record.read(tmp_path / "resnet18-batch1.json") == found
    assert bench.said[2:] == [
        "resnet18, batch 1, broken: cannot build within 900 s",
        "resnet18, batch 1: round 1 of 2",
        "resnet18, batch 1: round 2 of 2",
    ]


def test_a_second_run_adds_the_rounds_that_are_missing_and_builds_nothing(tmp_path: Path) -> None:
    Bench(tmp_path).compare(rounds=1)
    again = Bench(tmp_path)
    found = again.compare(rounds=3)
    assert len(found.rounds) == 3
    assert not [line for line in again.told if line.endswith(("build", "answer"))]
    idle = Bench(tmp_path)
    assert idle.compare(rounds=3) == found
    assert idle.told == []


def test_a_record_of_another_number_of_threads_is_not_mixed_with_this_run(tmp_path: Path) -> None:
    Bench(tmp_path).compare(rounds=1)
    other = Record(family="resnet18", batch=1, threads=1, device="a CPU", entrants=())
    with pytest.raises(UsageError) as caught:
        Bench(tmp_path).compare(rounds=1, begin=other)
    assert caught.value.what == "was measured with 2 threads on a CPU, and this run is another"
    assert caught.value.advice == "another folder with -o"


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "resnet18-batch1.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        Bench(tmp_path).compare(rounds=1)
    assert caught.value.advice == "remove it"
