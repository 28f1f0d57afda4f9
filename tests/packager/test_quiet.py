"""Libraries are kept quiet while they work, and only then."""

import logging
import os
import sys
import warnings

import pytest

from packager.quiet import quiet, silence


def speak() -> None:
    """Say something in every way that a library has."""
    print("printed")  # noqa: T201 - what is tested
    sys.stderr.write("written\n")
    warnings.warn("warned", stacklevel=1)
    logging.getLogger("torch.onnx").critical("logged")


def test_nothing_is_heard_within_and_everything_after(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with quiet():
        speak()
    assert (capsys.readouterr(), caplog.messages) == (("", ""), [])

    with pytest.warns(UserWarning, match="warned"):
        speak()
    assert (capsys.readouterr().out, caplog.messages) == ("printed\n", ["logged"])


def test_what_is_raised_passes_and_restores_everything(caplog: pytest.LogCaptureFixture) -> None:
    out = sys.stdout
    with pytest.raises(ValueError, match="broken"), quiet():
        raise ValueError("broken")

    logging.getLogger("torch.onnx").error("logged")
    assert sys.stdout is out
    assert caplog.messages == ["logged"]


def test_who_had_silenced_the_log_before_keeps_it_so(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet():
            pass
        logging.getLogger("torch.onnx").warning("logged")
        logging.getLogger("torch.onnx").error("told")
    finally:
        logging.disable(before)
    assert caplog.messages == ["told"]


def test_what_is_written_behind_python_is_not_heard_within_and_is_after(capfd: pytest.CaptureFixture[str]) -> None:
    with silence(), silence():
        os.write(1, b"from C++")
        os.write(2, b"from C++")
        speak()
    assert capfd.readouterr() == ("", "")

    with pytest.raises(ValueError, match="passes"), silence():
        raise ValueError("passes")
    os.write(1, b"out")
    os.write(2, b"error")
    assert capfd.readouterr() == ("out", "error")
