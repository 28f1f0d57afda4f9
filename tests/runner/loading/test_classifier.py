"""A loaded artifact as a program meets it: right answers from any thread, clear words for wrong input, a clean end."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import runner
from runner.bundle import Bundle
from runner.errors import UsageError
from runner.loading.choice import Choice
from runner.loading.classifier import Classifier, classifier
from runner.runtimes import DeviceMemory, Placement
from tests import loadable, networks

IMAGES = networks.inputs(loadable.SAMPLES)
CHOICE = Choice(name="fp32.onnx", reason="by a test", passed_over=(), advice="", threads=1)
CLOSED = "this classifier is closed\n  try: call it inside its `with` block, or load the bundle again"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return loadable.write(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def network(bundle: Bundle) -> Iterator[Classifier]:
    with runner.load(bundle.path, prefer="fp32.onnx", threads=1) as loaded:
        yield loaded


def near(found: NDArray[np.float32], rows: slice = slice(None)) -> bool:
    """Say whether these are the network's logits of the images."""
    return found.dtype == np.float32 and np.allclose(found, loadable.LOGITS[rows], rtol=1e-4, atol=1e-4)


@dataclass
class FakeSession:
    """Answers each sample with its first pixel, and remembers how many calls were made at once."""

    thread_safe: bool
    sizes: list[int] = field(default_factory=list)
    inside: int = 0
    most: int = 0
    provider: str = "Fake"
    version: str = "1"
    answer: NDArray[np.float32] = field(default_factory=lambda: np.zeros((1, 3), np.float32))
    """Written anew by each call, as some runtimes do."""
    met: threading.Barrier | None = None
    """Where calls wait for each other."""

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        self.sizes.append(len(inputs))
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.met:
            self.met.wait(timeout=60)
        if len(inputs) != len(self.answer):
            self.answer = np.zeros((len(inputs), 3), np.float32)
        self.answer[:] = inputs[:, 0, :1, 0]
        time.sleep(0.001)
        self.inside -= 1
        return self.answer

    def tensors(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
        return (self.run(inputs),)

    def device_ns(self, inputs: NDArray[np.float32]) -> int | None:
        return None

    def placement(self) -> Placement | None:
        return None

    def device_memory(self) -> DeviceMemory | None:
        return None


# What it answers


def test_stored_samples_are_prepared_and_answered(network: Classifier) -> None:
    assert near(network(IMAGES))
    assert near(network(IMAGES[3:4]), slice(3, 4))
    assert network.shape == (1, 8, 8)
    assert network.dtype == np.uint8
    assert network.classes == ("class 0", "class 1", "class 2")


def test_prepared_samples_are_answered_as_they_are(network: Classifier) -> None:
    prepared = network.prepare(IMAGES)
    assert prepared.tobytes() == networks.PREPROCESS.apply(IMAGES).tobytes()
    assert near(network.run(prepared))


def test_memory_may_lie_in_any_order_and_be_read_only(bundle: Bundle) -> None:
    for name in ("fp32.onnx", "int8.torchscript"):
        with runner.load(bundle.path, prefer=name, threads=1) as loaded:
            assert loaded.choice.name == name
            turned = np.asfortranarray(loaded.prepare(IMAGES))
            assert near(loaded.run(turned))
            turned.flags.writeable = False
            assert near(loaded.run(turned))
            assert near(loaded(np.asfortranarray(IMAGES)))


def test_no_samples_have_no_answers(network: Classifier) -> None:
    found = network(IMAGES[:0])
    assert found.shape == (0, 3)
    assert found.dtype == np.float32
    assert network.predict(IMAGES[:0]) == ()


def test_the_most_probable_classes_come_first_with_their_softmax(network: Classifier) -> None:
    (first, second), *others = network.predict(IMAGES, top=2)
    assert len(others) == loadable.SAMPLES - 1
    shares = np.exp(loadable.LOGITS[0].astype(np.float64))
    shares /= shares.sum()
    best, next_best = np.argsort(-shares)[:2].tolist()
    assert [(each.index, each.label) for each in (first, second)] == [
        (best, f"class {best}"),
        (next_best, f"class {next_best}"),
    ]
    assert [first.probability, second.probability] == pytest.approx([shares[best], shares[next_best]], rel=1e-3)
    assert sum(each.probability for each in network.predict(IMAGES[:1], top=9)[0]) == pytest.approx(1.0)


# What it refuses


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (IMAGES[0], "uint8 of the shape (1, 8, 8)"),
        (IMAGES[:, :, :4], "uint8 of the shape (40, 1, 4, 8)"),
        (IMAGES.astype(np.float32) / 255, "float32 of the shape (40, 1, 8, 8)"),
        (IMAGES.tolist(), "a list"),
    ],
)
def test_samples_of_another_kind_are_refused_in_words(
    network: Classifier, given: NDArray[np.uint8], found: str
) -> None:
    with pytest.raises(UsageError) as caught:
        network(given)
    assert str(caught.value) == (
        f"samples: expected uint8, N x 1 x 8 x 8, got {found}"
        "\n  try: what was packed, not scaled; `run` takes what is prepared"
    )


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (IMAGES, "uint8 of the shape (40, 1, 8, 8)"),
        (IMAGES.astype(np.float32)[0], "float32 of the shape (1, 8, 8)"),
        (IMAGES.astype(np.float64), "float64 of the shape (40, 1, 8, 8)"),
        (IMAGES.tolist(), "a list"),
    ],
)
def test_prepared_samples_of_another_kind_are_refused_in_words(
    network: Classifier, given: NDArray[np.float32], found: str
) -> None:
    with pytest.raises(UsageError) as caught:
        network.run(given)
    assert str(caught.value) == (
        f"prepared samples: expected float32, N x 1 x 8 x 8, got {found}\n  try: what `prepare` returns"
    )


def test_no_classes_at_all_cannot_be_asked_for(network: Classifier) -> None:
    with pytest.raises(UsageError, match="top: expected 1 or more, got 0"):
        network.predict(IMAGES, top=0)


# Image files


def test_an_image_file_becomes_one_sample(network: Classifier, tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    Image.fromarray(IMAGES[5, 0]).save(file)
    sample = network.decode(file)
    assert sample.tolist() == IMAGES[5:6].tolist()
    assert near(network(network.decode(str(file))), slice(5, 6))


def test_a_file_that_is_no_image_is_named(network: Classifier, tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    file.write_bytes(b"no image")
    with pytest.raises(UsageError) as caught:
        network.decode(file)
    assert str(caught.value).startswith(f"{file}: this image cannot be decoded: cannot identify image file")
    with pytest.raises(UsageError) as caught:
        network.decode(tmp_path / "none.png")
    assert caught.value.what == "this image cannot be decoded: No such file or directory"


def test_where_samples_are_no_images_no_file_becomes_one(bundle: Bundle, tmp_path: Path) -> None:
    numbers = Classifier(
        FakeSession(thread_safe=True).run, choice=CHOICE, classes=("a",), preprocess=networks.PREPROCESS, dtype="<f4"
    )
    with pytest.raises(UsageError) as caught:
        numbers.decode(tmp_path / "image.png")
    assert caught.value.what == "the samples of this bundle are no images: float32, N x 1 x 8 x 8"


# Threads


@pytest.mark.parametrize("name", ["fp32.onnx", "int8.torchscript"])
def test_threads_that_share_it_each_get_their_own_answers(bundle: Bundle, name: str) -> None:
    with runner.load(bundle.path, prefer=name, threads=1) as loaded, ThreadPoolExecutor(4) as pool:
        assert loaded.choice.name == name

        def ask(turn: int) -> bool:
            start = turn % 30
            rows = slice(start, start + 1 + turn % 7)
            return near(loaded(IMAGES[rows]), rows)

        assert all(pool.map(ask, range(200)))


def test_what_is_not_thread_safe_is_called_by_one_thread_at_a_time(bundle: Bundle) -> None:
    session = FakeSession(thread_safe=False)
    loaded = classifier(bundle, loadable.FP32, session, CHOICE)
    prepared = loaded.prepare(IMAGES)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: loaded.run(prepared[row : row + 1]), range(40)))
    # Also long after the session has written its next answer into the same memory.
    assert np.concatenate(found)[:, 0].tolist() == prepared[:, 0, 0, 0].tolist()
    assert session.most == 1


def test_what_is_thread_safe_is_called_by_all_at_once(bundle: Bundle) -> None:
    session = FakeSession(thread_safe=True, met=threading.Barrier(2))
    loaded = classifier(bundle, loadable.FP32, session, CHOICE)
    prepared = loaded.prepare(IMAGES[:1])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(loaded.run, [prepared, prepared]))
    assert session.most == 2


def test_what_takes_one_sample_is_given_one_after_the_other(bundle: Bundle) -> None:
    for safe in (True, False):
        session = FakeSession(thread_safe=safe)
        loaded = classifier(bundle, replace(loadable.FP32, dynamic_batch=False), session, CHOICE)
        found = loaded(IMAGES[:5])
        assert session.sizes == [1] * 5
        assert not safe or found.shape == (5, 3)
        assert safe or found[:, 0].tolist() == loaded.prepare(IMAGES[:5])[:, 0, 0, 0].tolist()


# Its end


def test_after_its_end_it_says_so(bundle: Bundle) -> None:
    with runner.load(bundle.path, prefer="fp32.onnx", threads=1) as loaded:
        assert repr(loaded) == "<Classifier fp32.onnx, 1 threads>"
    for use in (lambda: loaded(IMAGES), lambda: loaded.run(loaded.prepare(IMAGES)), lambda: loaded.predict(IMAGES)):
        with pytest.raises(UsageError) as caught:
            use()
        assert str(caught.value) == CLOSED
    assert repr(loaded) == "<Classifier fp32.onnx, closed>"
    loaded.close()


def test_at_its_end_the_session_is_let_go(bundle: Bundle) -> None:
    session = FakeSession(thread_safe=False)
    loaded = classifier(bundle, replace(loadable.FP32, dynamic_batch=False), session, CHOICE)
    gone = weakref.ref(session)
    del session
    loaded.close()
    gc.collect()
    assert gone() is None


def test_a_call_that_has_begun_comes_to_its_end(bundle: Bundle) -> None:
    session = FakeSession(thread_safe=True, met=threading.Barrier(2))
    loaded = classifier(bundle, loadable.FP32, session, CHOICE)
    prepared = loaded.prepare(IMAGES[:1])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(loaded.run, prepared)
        while not session.sizes:
            time.sleep(0.001)
        loaded.close()
        assert session.met is not None
        session.met.wait(timeout=60)
        assert answer.result(timeout=60)[0].tolist() == [prepared[0, 0, 0, 0]] * 3
