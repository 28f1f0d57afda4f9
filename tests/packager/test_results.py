"""A recipe's table in a Markdown file: under its own title, in place of the older one, and nothing else is touched."""

from dataclasses import replace
from pathlib import Path

import pytest

from packager import results
from runner import report
from runner.errors import EdgepackError, StepError
from runner.report import Report
from tests import reports

SECTION = """\
## Every way to int8

| artifact         |      size | ratio |    top-1 | points lost |        interval |   loss |     SNR |  latency | ratio |    interval |
| :--------------- | --------: | ----: | -------: | ----------: | --------------: | -----: | ------: | -------: | ----: | ----------: |
| fp32.onnx        | 200.0 KiB | 1.00x | 100.00 % |           — |               — | 0.1250 |       — | 151.0 µs | 1.00x | 149.0–153.0 |
| PTQ static       |  60.0 KiB | 0.30x |  97.50 % |       +2.50 | -5.67 to +10.43 | 0.1844 | 31.5 dB |  60.0 µs | 0.40x |   58.0–62.0 |
| int8.torchscript |  90.0 KiB | 0.45x |        — |           — |               — |      — |       — |        — |     — |           — |

Example CPU, x86_64, 2 CPUs; 2 threads, batch 1, quick effort, 2026-11-01T12:00:00Z; 40 samples. Ratios are to the fp32 ONNX file of the same bundle, and so are the points of top-1 that are lost, with their paired interval (95 %); latency is the median of the processes' medians with its interval (93.8 %).
"""  # noqa: E501, RUF001 - as it stands in the file
TITLE = "Every way to int8"
BESIDE = (
    "Ratios are to the fp32 ONNX file of the same bundle, and so are the points of top-1 that are lost, with their "
    "paired interval (95 %)"
)


def measured(name: str = "net") -> Report:
    """Return a report with a title in it."""
    whole = reports.host()
    titled = replace(whole.artifacts[1], title="PTQ static")
    return replace(reports.with_artifact(whole, titled), bundle_name=name)


def written(path: Path, *found: Report, title: str = TITLE) -> str:
    """Write a table, and return what then stands in the file."""
    results.write(path, title, found or (measured(),))
    return path.read_text(encoding="utf-8")


def test_a_file_that_is_not_there_starts_with_its_own_title(tmp_path: Path) -> None:
    assert written(tmp_path / "results.md") == f"# Results\n\n{SECTION}"


def test_a_table_that_is_written_again_takes_its_own_place(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    before, after = "# All tables\n\nWords of ours.\n\n## First\n\na\n\n", "\n## Last\n\n### Deeper\n\nb\n"
    path.write_text(f"{before}{SECTION}{after}", encoding="utf-8")
    assert written(path) == f"{before}{SECTION}{after}"
    path.write_text(f"{before}## {TITLE}\n\nold\n\n| a |\n{after}", encoding="utf-8")
    assert written(path) == f"{before}{SECTION}{after}"
    path.write_text(f"{before}## {TITLE}\n", encoding="utf-8")
    assert written(path) == f"{before}{SECTION}"


def test_a_new_table_comes_after_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("# All tables\n\n## First\n\na\n\n\n", encoding="utf-8")
    assert written(path) == f"# All tables\n\n## First\n\na\n\n{SECTION}"


@pytest.mark.parametrize("other", [f"{TITLE}, again", "Every", f"On {TITLE}"])
def test_a_title_that_only_begins_alike_is_another(other: str, tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text(f"# R\n\n## {other}\n\nkept\n", encoding="utf-8")
    assert written(path) == f"# R\n\n## {other}\n\nkept\n\n{SECTION}"


def test_a_title_is_no_pattern(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("## a.c (1+1)\n\nold\n\n## abc (1+1)\n\nkept\n", encoding="utf-8")
    found = written(path, title="a.c (1+1)")
    assert found.startswith("## a.c (1+1)\n\n| artifact ")
    assert found.endswith("\n\n## abc (1+1)\n\nkept\n")
    assert "old" not in found


def test_what_is_written_twice_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    first = written(path)
    other = written(path, title="Another")
    assert written(path) == other
    assert written(path, title="Another") == other
    assert other.startswith(first.rstrip())


def test_several_bundles_have_a_column_of_their_own_and_each_its_own_fp32(tmp_path: Path) -> None:
    slow = replace(measured("large"), artifacts=(reports.artifact("fp32.onnx", size=2048, medians_us=(400, 400)),))
    lines = written(tmp_path / "results.md", measured("small"), slow).splitlines()
    assert lines[4].startswith("| bundle | artifact         |")
    assert [line.split("|")[1].strip() for line in lines[6:10]] == ["small", "small", "small", "large"]
    assert [cell.strip() for cell in lines[9].split("|")[2:5]] == ["fp32.onnx", "2.00 KiB", "1.00x"]


def test_what_was_left_out_is_told_under_the_table(tmp_path: Path) -> None:
    found = written(tmp_path / "results.md", report.seal(replace(measured(), packing=reports.packed())))
    assert found.endswith("\n\nnet has no int8.torchscript: it cannot be traced.\n")


def test_what_pruning_brought_stands_under_the_table(tmp_path: Path) -> None:
    found = written(tmp_path / "results.md", report.seal(replace(measured(), packing=reports.packed())))
    assert "| network, fp32 | parameters | not zero |" in found


def test_without_latency_the_column_is_left_out_and_no_interval_is_claimed(tmp_path: Path) -> None:
    bare = measured()
    untimed = replace(bare, artifacts=tuple(replace(each, latency=None) for each in bare.artifacts))
    found = written(tmp_path / "results.md", untimed)
    assert found.splitlines()[4].endswith("   loss |     SNR |")
    assert found.endswith("; 40 samples. " + BESIDE + ".\n")


def test_a_file_that_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(StepError) as caught:
        written(path)
    assert str(caught.value).startswith(f"{path}: cannot be read: 'utf-8' codec can't decode byte 0xff")
    assert str(caught.value).endswith("\n  try: --results another/file.md")
    assert path.read_bytes() == b"\xff\xfe"
    with pytest.raises(StepError, match="cannot be read: 'utf-8' codec"):
        results.check(path)
    results.check(tmp_path / "none yet.md")
    assert not (tmp_path / "none yet.md").exists()
    with pytest.raises(EdgepackError):
        written(tmp_path / "no folder" / "results.md")
