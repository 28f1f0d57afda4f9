"""What may be preferred: an artifact by name, or a report of this very bundle; anything else is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from runner import codec, report_reader
from runner.bundle import Bundle
from runner.errors import ReportError, UsageError
from runner.loading.preference import Preference, preference
from tests import loadable, reports


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return loadable.write(tmp_path_factory.mktemp("bundle"))


def test_nothing_and_a_name_are_what_they_are(bundle: Bundle) -> None:
    assert preference(bundle, None) == Preference()
    assert preference(bundle, "fp32.onnx") == Preference(name="fp32.onnx")


def test_a_report_is_read_from_its_file_or_taken_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    found = loadable.measured(bundle, {"fp32.onnx": 50}, fastest="fp32.onnx", threads=3)
    file = tmp_path / "own.json"
    file.write_text(codec.write_json(found), encoding="utf-8")
    for given in (file, str(file)):
        assert preference(bundle, given) == Preference(report=report_reader.load_summary(file), source=str(file))
    taken = preference(bundle, found)
    assert (taken.report, taken.threads) == (found, 3)


def test_a_name_that_is_none_is_told_with_the_nearest(bundle: Bundle) -> None:
    with pytest.raises(UsageError) as caught:
        preference(bundle, "int8.torchscrpt")
    assert str(caught.value) == (
        "prefer: 'int8.torchscrpt' is neither an artifact of this bundle nor the file of a report"
        "\n  try: did you mean 'int8.torchscript'?"
    )
    with pytest.raises(UsageError) as caught:
        preference(bundle, "zzz")
    assert caught.value.advice == "one of fp32.onnx, int8.torchscript"


def test_a_report_that_is_missing_altered_or_of_another_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ReportError) as caught:
        preference(bundle, tmp_path / "none.json")
    assert caught.value.what == "cannot be read: No such file or directory"
    found = loadable.measured(bundle, {"fp32.onnx": 50}, fastest="fp32.onnx")
    with pytest.raises(ReportError) as caught:
        preference(bundle, replace(found, fastest="int8.torchscript"))
    assert caught.value.what == "its digest does not fit its content: it was altered after it was measured"
    with pytest.raises(ReportError) as caught:
        preference(bundle, reports.host())
    assert str(caught.value) == (
        f"the report: is a report of another bundle (net for x86)\n  try: bench-runner {bundle.path} -o report.json"
    )
