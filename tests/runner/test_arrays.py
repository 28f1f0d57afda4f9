from pathlib import Path

import numpy as np

from runner.arrays import ArrayLocation


def test_rows_are_read_as_they_are_mapped(tmp_path: Path) -> None:
    values, file = np.arange(24, dtype="<u2").reshape(4, 2, 3), tmp_path / "values.bin"
    file.write_bytes(b"header" + values.tobytes())
    place = ArrayLocation(path=file, offset=6, shape=values.shape, dtype="<u2")
    np.testing.assert_array_equal(place.open(), values)
    for index in range(len(values)):
        assert place.row(index).dtype == values.dtype
        np.testing.assert_array_equal(place.row(index), values[index : index + 1])
