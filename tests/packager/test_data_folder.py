import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packager import data, recipe
from packager.data import folder, images
from packager.data.dataset import Splits
from runner.errors import StepError, UsageError
from runner.progress import Advance, Silent


class Listening(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tasks: dict[str, int] = {}

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        def advance(steps: int = 1, note: str = "") -> None:
            self.tasks[title] = self.tasks.get(title, 0) + steps

        yield advance

    def say(self, message: str) -> None:
        self.said.append(message)


def _paint(path: Path, color: int | tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> None:
    """Write one plain image; size is width and height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(path)


def _make(root: Path, parts: tuple[str, ...] = ("train", "test"), gray: bool = False) -> Path:
    for part in parts:
        for label, name in enumerate(("cat", "dog")):
            for number in range(10):
                value = 100 * label + number
                _paint(root / part / name / f"{number}.png", value if gray else (value, 7, 9))
    return root


def _load(root: Path, cache: Path, image_size: int | None = None, listening: Silent | None = None) -> Splits:
    wanted = recipe.Data(source=str(root), image_size=image_size)
    return data.load(wanted, seed=0, cache=cache, progress=listening or Silent())


def test_a_folder_becomes_samples_with_the_right_labels(tmp_path: Path) -> None:
    splits = _load(_make(tmp_path / "photos"), tmp_path / "cache")

    assert splits.classes == ("cat", "dog")
    assert splits.preprocess.resize == "none: stored as they are"
    assert splits.train.base.shape == (20, 3, 16, 16)
    assert [len(splits.train), len(splits.validation), len(splits.evaluation)] == [18, 2, 20]
    for part in (splits.train, splits.validation, splits.evaluation):
        assert (part.array()[:, 0, 0, 0] // 100).tolist() == part.labels.tolist()
        assert np.unique(part.array()[:, 2]).tolist() == [9]


def test_images_are_decoded_once_and_mapped_from_then_on(tmp_path: Path) -> None:
    root, cache = _make(tmp_path / "photos"), tmp_path / "cache"
    first, second = Listening(), Listening()

    one = _load(root, cache, listening=first)
    two = _load(root, cache, listening=second)

    assert first.tasks == {"reading image sizes": 40, "decoding images": 40}
    assert second.tasks == {}
    assert one.sha256 == two.sha256
    assert isinstance(two.train.base, np.memmap)
    assert sorted(path.name for path in (cache / "images").iterdir()) == [_only(cache / "images").name]


def _only(parent: Path) -> Path:
    (child,) = parent.iterdir()
    return child


def test_a_changed_image_is_decoded_anew(tmp_path: Path) -> None:
    root, cache = _make(tmp_path / "photos"), tmp_path / "cache"
    before = _load(root, cache)
    _paint(root / "train" / "cat" / "0.png", (255, 255, 255))
    os.utime(root / "train" / "cat" / "0.png", ns=(1, 1))

    after = _load(root, cache)

    assert before.sha256 != after.sha256
    assert after.train.base[0].max() == 255


def test_images_stay_gray_only_if_all_are(tmp_path: Path) -> None:
    root = _make(tmp_path / "photos", gray=True)

    assert _load(root, tmp_path / "cache").preprocess.channels == 1
    _paint(root / "test" / "dog" / "color.png", (1, 2, 3))
    assert _load(root, tmp_path / "cache").preprocess.channels == 3


def test_sixteen_bit_gray_keeps_its_upper_half(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((8, 8), 0x7F33, np.uint16)).save(path)

    assert images.peek(path) == ((8, 8), True)
    assert np.unique(images.decode(path, (8, 8), 1)).tolist() == [0x7F]


def test_palette_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (10, 20, 30, 40)).save(tmp_path / "clear.png")
    Image.new("RGB", (8, 8), (10, 20, 30)).quantize(4).save(tmp_path / "palette.png", transparency=b"\x00\xff")

    for name in ("clear.png", "palette.png"):
        assert images.peek(tmp_path / name) == ((8, 8), False)
        assert images.decode(tmp_path / name, (8, 8), 3)[:, 0, 0].tolist() == [10, 20, 30]


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    picture = Image.new("L", (16, 8), 0)
    picture.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture.save(tmp_path / "turned.png", exif=exif)

    pixels = images.decode(tmp_path / "turned.png", (16, 8), 1)[0]

    assert pixels[:8].min() == 255
    assert pixels[8:].max() == 0


def test_mixed_sizes_come_to_224_by_the_shorter_side(tmp_path: Path) -> None:
    root = _make(tmp_path / "photos")
    wide = Image.new("RGB", (90, 30), (255, 0, 0))
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    wide.save(root / "train" / "cat" / "0.png")

    splits = _load(root, tmp_path / "cache")
    cropped = splits.train.base[0]

    assert splits.preprocess.height == splits.preprocess.width == 224
    assert splits.preprocess.resize == (
        "shorter side to 224 pixels, centre crop to 224 x 224, bilinear with antialias (Pillow)"
    )
    assert cropped[2, :, 112].min() == 255
    assert cropped[0, :, 112].max() == 0


def test_the_size_that_is_asked_for_has_a_cache_of_its_own(tmp_path: Path) -> None:
    root, cache = _make(tmp_path / "photos"), tmp_path / "cache"

    assert _load(root, cache).train.base.shape[2:] == (16, 16)
    assert _load(root, cache, image_size=12).train.base.shape[2:] == (12, 12)
    assert len(list((cache / "images").iterdir())) == 2


def test_val_serves_where_there_is_no_test(tmp_path: Path) -> None:
    splits = _load(_make(tmp_path / "photos", ("train", "val")), tmp_path / "cache")

    assert len(splits.evaluation) == 20


def test_val_beside_test_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    listening = Listening()
    root = _make(tmp_path / "photos", ("train", "val", "test"))
    splits = _load(root, tmp_path / "cache", listening=listening)

    assert len(splits.train) + len(splits.validation) == 20
    assert listening.said == [
        f"{root / 'val'}: not used, for {root / 'test'} is there and validation is held out of {root / 'train'}"
    ]


@pytest.mark.parametrize("part", ["", "train"])
def test_a_folder_without_a_split_gets_one(tmp_path: Path, part: str) -> None:
    splits = _load(_make(tmp_path / "photos", (part,)), tmp_path / "cache")

    assert np.bincount(splits.evaluation.labels).tolist() == [2, 2]
    assert np.bincount(splits.validation.labels).tolist() == [1, 1]
    assert np.bincount(splits.train.labels).tolist() == [7, 7]


@pytest.mark.parametrize("parts", [("train", "valid"), ("train", "validation"), ("test", "val"), ("test",)])
def test_parts_of_a_split_are_not_taken_for_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    root = _make(tmp_path / "photos", parts)

    with pytest.raises(UsageError) as caught:
        _load(root, tmp_path / "cache")

    assert str(caught.value) == (
        f"{root}: has class folders in {', '.join(sorted(parts))}, but not both train and test or val\n"
        "  try: rename them: train/CLASS/* with test/CLASS/* or val/CLASS/*"
    )


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = tmp_path / "vehicles"
    for number in range(10):
        _paint(root / "bus" / f"{number}.png", number)
        _paint(root / "train" / f"{number}.png", 100 + number)

    assert _load(root, tmp_path / "cache").classes == ("bus", "train")


def test_files_that_are_no_images_are_passed_over_and_that_is_said(tmp_path: Path) -> None:
    listening = Listening()
    root = _make(tmp_path / "photos")
    (root / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    splits = _load(root, tmp_path / "cache", listening=listening)

    assert splits.classes == ("cat", "dog")
    assert listening.said == [f"{root / 'train' / 'cat'}: passed over 1 files that are no images, such as Thumbs.db"]


def test_an_empty_class_folder_is_refused_by_name(tmp_path: Path) -> None:
    root = _make(tmp_path / "photos")
    (root / "train" / "emu").mkdir()

    with pytest.raises(StepError) as caught:
        _load(root, tmp_path / "cache")

    assert str(caught.value) == f"{root / 'train' / 'emu'}: this class folder has no images\n  try: fill or remove it"


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_in_one_part_only_is_refused_by_name(tmp_path: Path, part: str) -> None:
    root = _make(tmp_path / "photos")
    _paint(root / part / "emu" / "1.png", (1, 2, 3))

    with pytest.raises(StepError, match=f"train and test have different classes: 'emu' is in .*{part} only"):
        _load(root, tmp_path / "cache")


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    _paint(tmp_path / "photos" / "cat" / "1.png", 1)

    with pytest.raises(UsageError, match="photos: has 1 class folders; a classifier needs at least 2"):
        _load(tmp_path / "photos", tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"no picture at all", "truncated"])
def test_an_image_that_cannot_be_decoded_is_named_and_nothing_is_left(tmp_path: Path, content: bytes | str) -> None:
    root = _make(tmp_path / "photos")
    broken = root / "train" / "dog" / "3.png"
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(broken)
    broken.write_bytes(content if isinstance(content, bytes) else broken.read_bytes()[:300])

    with pytest.raises(StepError, match="this image cannot be decoded: ") as caught:
        _load(root, tmp_path / "cache")

    assert caught.value.where == str(broken)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_damaged_cache_is_told_with_the_folder_to_delete(tmp_path: Path) -> None:
    root, cache = _make(tmp_path / "photos"), tmp_path / "cache"
    _load(root, cache)
    kept = _only(cache / "images")
    (kept / "images.npy").write_bytes((kept / "images.npy").read_bytes()[:-100])

    with pytest.raises(StepError, match=r"images\.npy: the cache is damaged: ") as caught:
        _load(root, cache)

    assert caught.value.advice == f"delete {kept}"


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where a folder should be")

    with pytest.raises(StepError, match=f"cannot be read or written: {os.strerror(errno.ENOTDIR)}"):
        _load(_make(tmp_path / "photos"), tmp_path / "cache")


def test_a_cache_that_another_process_finished_first_is_taken(tmp_path: Path) -> None:
    root, cache = _make(tmp_path / "photos"), tmp_path / "cache"
    files = sorted((root / "train").rglob("*.png"))
    folder._decode_all(files, None, cache / "images" / "x", Silent())
    folder._decode_all(files, None, cache / "images" / "x", Silent())

    assert [path.name for path in (cache / "images").iterdir()] == ["x"]
    assert np.load(cache / "images" / "x" / "images.npy").shape == (20, 3, 16, 16)
