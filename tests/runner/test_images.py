"""Image files become the same pixels for `pack`, which trains with them, and for `predict`, which looks at them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packager.data import folder
from packager.data.dataset import Dataset, Samples
from packager.data.images import resized
from runner import images
from runner.errors import RuntimeUnavailable
from runner.images import UndecodableError
from runner.progress import Silent

CHANCE = np.random.default_rng(0)


def photos(root: Path, mode: str) -> list[Path]:
    """Make a folder of images of several sizes, two of each class, and return them in the order of their labels."""
    sizes = ((8, 8), (11, 7), (30, 41), (64, 20))
    files = [root / part / name for part in ("a", "b") for name in ("0.tif", "1.tif")]
    for file, size in zip(files, sizes, strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(CHANCE.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(file)
    return files


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("RGBA", 3), ("P", 3), ("CMYK", 3), ("1", 1)])
def test_what_pack_reads_from_a_folder_is_what_predict_sees(tmp_path: Path, mode: str, channels: int) -> None:
    files = photos(tmp_path / "photos", mode)
    packed = folder.read(tmp_path / "photos", 16, tmp_path / "cache", Silent()).train.base
    assert packed.shape == (4, channels, 16, 16)
    for stored, file in zip(packed, files, strict=True):
        assert images.decode(file, (16, 16), channels).tobytes() == stored.tobytes()


def test_arrays_that_pack_resizes_become_what_predict_sees_in_their_files(tmp_path: Path) -> None:
    pixels = CHANCE.integers(0, 256, (2, 3, 21, 34), dtype=np.uint8)
    whole = Dataset(
        source="a test",
        train=Samples.whole(pixels, np.array([0, 1])),
        test=None,
        classes=("a", "b"),
        resize=images.UNTOUCHED,
    )
    packed = resized(whole, 12, Silent())
    assert packed.resize == images.resize_words((12, 12))
    for index in (0, 1):
        file = tmp_path / f"{index}.png"
        Image.fromarray(pixels[index].transpose(1, 2, 0)).save(file)
        assert images.decode(file, (12, 12), 3).tolist() == packed.train.base[index].tolist()


def test_the_shorter_side_is_resized_and_the_middle_cut_out(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(file)
    assert np.unique(images.decode(file, (4, 4), 1)).tolist() == [200]
    assert images.resize_words((4, 4)) == (
        "shorter side to 4 pixels, centre crop to 4 x 4, bilinear with antialias (Pillow)"
    )


def test_damage_is_told_in_the_words_of_pillow_or_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(UndecodableError) as caught:
        images.decode(tmp_path / "none.png", (8, 8), 3)
    assert str(caught.value) == "No such file or directory"
    cut = tmp_path / "cut.png"
    Image.fromarray(CHANCE.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    with pytest.raises(UndecodableError, match="image file is truncated"):
        images.decode(cut, (8, 8), 3)
    deep = tmp_path / "deep.tif"
    Image.fromarray(np.zeros((8, 8), np.float32)).save(deep)
    with pytest.raises(UndecodableError, match="floating-point numbers, which have no agreed range"):
        images.decode(deep, (8, 8), 3)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    images.hold_pillow()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(RuntimeUnavailable) as caught:
        images.hold_pillow()
    assert caught.value.what == "reading images needs Pillow, which is not installed here"
    assert "pip install 'edgepack[images]'" in caught.value.advice


def test_pillow_is_loaded_when_an_image_is_read() -> None:
    program = "import sys, runner.images, runner.predicting; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
