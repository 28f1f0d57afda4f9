"""Nothing is used whose answers are not those that it gave on the host."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runner.bundle import FP32_REFERENCE, Bundle
from runner.errors import BundleError, MeasurementError
from runner.loading.proof import SAMPLES, hold
from runner.runtimes import Options, Session, load_runtime
from tests import bundles, loadable, networks

Logits = NDArray[np.float32]
ODD = replace(loadable.FP32, name="odd.onnx", path="artifacts/odd.onnx")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    file = networks.write_onnx(tmp_path_factory.mktemp("net") / "net.onnx")
    return load_runtime("onnx").load(file, Options(threads=1))


def bundle(folder: Path, host: Logits) -> Bundle:
    """Return a bundle whose artifact `odd.onnx` gave these logits on the host."""
    return loadable.write(folder, (loadable.FP32, ODD), host={"odd.onnx": host})


def test_the_hosts_own_answers_hold(session: Session, tmp_path: Path) -> None:
    hold(loadable.write(tmp_path), loadable.FP32, session)


@pytest.mark.parametrize("dynamic_batch", [False, True])
def test_samples_go_one_by_one_also_where_more_are_taken(session: Session, tmp_path: Path, dynamic_batch: bool) -> None:
    proven = bundles.artifact(dynamic_batch=dynamic_batch)
    taken: list[int] = []

    class Counting:
        thread_safe = True

        def run(self, inputs: NDArray[np.float32]) -> object:
            taken.append(len(inputs))
            return session.run(inputs)

    hold(loadable.write(tmp_path, (proven,)), proven, Counting())  # type: ignore[arg-type]  # what the proof calls
    assert taken == [1] * SAMPLES


def test_answers_of_another_network_are_refused_with_both_figures(session: Session, tmp_path: Path) -> None:
    other = np.ascontiguousarray(loadable.LOGITS[:, ::-1])
    with pytest.raises(MeasurementError) as caught:
        hold(bundle(tmp_path, other), ODD, session)
    flips = int((_proved(other).argmax(1) != _proved(loadable.LOGITS).argmax(1)).sum())
    assert flips > 1
    assert caught.value.what.startswith(f"answers {flips} of 8 samples otherwise than on the host, signal to noise ")
    assert caught.value.what.endswith(" dB where 40 are expected")


def test_noise_is_judged_by_the_precision(session: Session, tmp_path: Path) -> None:
    # 3 % of each logit at random: 30 dB, give or take what eight samples leave to chance.
    chance = np.random.default_rng(0).normal(size=loadable.LOGITS.shape)
    noisy = (loadable.LOGITS * (1 + 0.03 * chance)).astype(np.float32)
    made = bundle(tmp_path, noisy)
    hold(made, replace(ODD, precision="int8"), session)
    with pytest.raises(MeasurementError, match=r"answers 0 of 8 samples otherwise .*, signal to noise (29|3\d)\.\d dB"):
        hold(made, ODD, session)


def test_one_flip_in_eight_is_borne_and_two_are_not(session: Session, tmp_path: Path) -> None:
    def flipped(count: int) -> Logits:
        host = loadable.LOGITS.copy()
        rows = np.linspace(0, len(host) - 1, SAMPLES).astype(int)[:count]
        for row in rows:
            best, next_best = np.argsort(-host[row])[:2]
            host[row, next_best] = host[row, best] + 1e-4
        return host

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = replace(ODD, precision="int4-weights")
    made = bundle(tmp_path / "one", flipped(1))
    rows = _proved(made.reference()["odd.onnx"]).argmax(1) != _proved(loadable.LOGITS).argmax(1)
    assert rows.sum() == 1
    hold(made, one, session)
    with pytest.raises(MeasurementError, match="answers 2 of 8 samples otherwise than on the host"):
        hold(bundle(tmp_path / "two", flipped(2)), one, session)


def test_logits_of_another_shape_or_not_finite_are_told(tmp_path: Path) -> None:
    class Saying:
        thread_safe = True

        def __init__(self, answer: float, classes: int) -> None:
            self.answer, self.classes = answer, classes

        def run(self, inputs: NDArray[np.float32]) -> object:
            return np.full((len(inputs), self.classes), self.answer, np.float32)

    made = loadable.write(tmp_path)
    with pytest.raises(MeasurementError, match=r"its logits have the shape \(8, 4\), and \(8, 3\) was asked for"):
        hold(made, loadable.FP32, Saying(0.0, 4))  # type: ignore[arg-type]  # what the proof calls
    with pytest.raises(MeasurementError, match="8 of 8 answers hold a NaN or an infinity"):
        hold(made, loadable.FP32, Saying(float("nan"), 3))  # type: ignore[arg-type]  # as above


def test_a_bundle_without_the_hosts_answers_is_refused(session: Session, tmp_path: Path) -> None:
    made = loadable.write(tmp_path)
    with pytest.raises(BundleError) as caught:
        hold(made, replace(loadable.FP32, name="other.onnx"), session)
    assert caught.value.what == "eval/reference.npz: other.onnx: has the shape (), not (40, 3)"
    assert FP32_REFERENCE in made.reference_places()


def _proved(logits: Logits) -> Logits:
    """Return the rows that are held."""
    found: Logits = logits[np.linspace(0, len(logits) - 1, SAMPLES).astype(int)]
    return found
