"""What is missing to make files of a format is named with the extra that has it."""

import pytest

from packager import installed
from runner.errors import StepError
from runner.manifest import Format


@pytest.mark.parametrize(
    ("form", "packages", "said"),
    [
        ("litert", ("json", "no_such"), "no_such is not installed\n  try: pip install 'edgepack[pack-litert]'"),
        ("openvino", ("no", "nor"), "no and nor are not installed\n  try: pip install 'edgepack[pack-openvino]'"),
    ],
)
def test_all_that_is_missing_is_named_with_one_command(form: Format, packages: tuple[str, ...], said: str) -> None:
    with pytest.raises(StepError) as caught:
        installed.hold(form, *packages)
    assert str(caught.value) == said


def test_where_all_is_there_nothing_is_said() -> None:
    installed.hold("openvino", "json", "zipfile")
