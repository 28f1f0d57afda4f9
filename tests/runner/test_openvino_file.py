"""The one file in which a graph and its weights travel."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from runner import openvino_file
from runner.archive import MalformedError
from runner.openvino_file import GRAPH, WEIGHTS, read, written

CONTENT = b"<net/>", bytes(range(200))


def test_what_is_written_is_read_and_any_tool_can_unpack_it(tmp_path: Path) -> None:
    path = tmp_path / "net.openvino.zip"
    path.write_bytes(written(*CONTENT))

    parts = read(path)
    assert (parts.graph, parts.weights.tobytes()) == CONTENT
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == [WEIGHTS, GRAPH]
        assert (zlib.decompress(file.read(GRAPH)), file.read(WEIGHTS)) == CONTENT


def test_weights_lie_where_numbers_of_eight_bytes_may_and_writing_to_them_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "net.openvino.zip"
    path.write_bytes(content := written(*CONTENT))

    weights = read(path).weights
    assert content.index(CONTENT[1]) == 40
    assert weights.ctypes.data % 8 == 0
    weights[:] = 0
    assert path.read_bytes() == content


def test_a_network_may_have_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.openvino.zip"
    path.write_bytes(written(b"<net/>", b""))

    assert (read(path).graph, read(path).weights.size) == (b"<net/>", 0)


def test_equal_parts_give_equal_bytes() -> None:
    assert written(*CONTENT) == written(*CONTENT)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"no archive at all, of any kind", "is not a ZIP file, or has something before its first entry"),
        (written(*CONTENT)[:-1], "was cut short, or has something behind its end"),
        (written(*CONTENT).replace(b"model.xml.z", b"other.xml.z"), "it has no model.xml.z"),
        (
            written(*CONTENT).replace(zlib.compress(b"<net/>", 9), bytes(len(zlib.compress(b"<net/>", 9)))),
            "model.xml.z: Error -3 while decompressing data: unknown compression method",
        ),
    ],
)
def test_damage_is_told(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "net.openvino.zip"
    path.write_bytes(content)

    with pytest.raises(MalformedError) as caught:
        read(path)
    assert str(caught.value) == what


def test_a_graph_that_swells_beyond_any_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.openvino.zip"
    path.write_bytes(written(bytes(5000), b""))
    monkeypatch.setattr(openvino_file, "MOST_GRAPH_BYTES", 4999)

    with pytest.raises(MalformedError, match="was cut short, or is larger than any graph"):
        read(path)


def test_weights_are_bytes(tmp_path: Path) -> None:
    path = tmp_path / "net.openvino.zip"
    path.write_bytes(written(*CONTENT))

    assert read(path).weights.dtype == np.uint8
