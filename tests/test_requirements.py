"""What an installation pulls: a board gets what the runner needs, and nothing of the host side."""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[; ]", each, maxsplit=1)[0] for each in requirements}


def test_a_board_gets_four_packages_and_its_runtime() -> None:
    assert names(PROJECT["dependencies"]) == {"cattrs", "click", "numpy", "psutil"}
    assert names(PROJECT["optional-dependencies"]["onnx"]) == {"onnxruntime"}
    assert names(PROJECT["optional-dependencies"]["torch"]) == {"torch"}
    assert names(PROJECT["optional-dependencies"]["images"]) == {"pillow"}
