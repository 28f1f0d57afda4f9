"""bench-runner as a user meets it: what is printed where, which file is written, and the exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnxruntime
import pytest

from runner import cli, cli_options, codec, edge, report, report_reader, verify
from runner.bundle import FP32_REFERENCE
from runner.cli_types import Percentage
from runner.compare.comparison import Comparison
from runner.facts import DeviceFacts, DeviceState
from runner.report import Effort, Report
from tests import bundles, networks, reports

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "numpy", "cattrs", "psutil")
SAMPLES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of a network that runs here and one that never does."""
    folder = tmp_path_factory.mktemp("bundle")
    network = networks.write_onnx(folder / "net.onnx").read_bytes()
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": networks.PREPROCESS.apply(networks.inputs(SAMPLES))})
    artifacts = (bundles.artifact(), bundles.artifact("fp16", machines=("aarch64",)))
    return bundles.write_bundle(
        folder / "net.edgepack",
        {item.name: network for item in artifacts},
        artifacts,
        logits=dict.fromkeys((FP32_REFERENCE, *(item.name for item in artifacts)), logits),
        labels=np.asarray(logits.argmax(axis=1), np.int64),
    ).path


@pytest.fixture(scope="module")
def measured(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """Measure the bundle once, and return how that ended and where."""
    folder = tmp_path_factory.mktemp("measured")
    found = subprocess.run(
        [*bench_runner(), str(bundle), "--threads", "1", "--profile-ops"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(code=found.returncode, out=found.stdout, err=found.stderr), folder


def bench_runner() -> tuple[str, ...]:
    """Return how the command is started in a process of its own."""
    return (sys.executable, "-c", "from runner.cli import main; main()")


def bench(capsys: pytest.CaptureFixture[str], *args: object) -> Ended:
    """Run the command in this process."""
    capsys.readouterr()
    code = edge.run(cli.bench_runner, [str(arg) for arg in args], program="bench-runner")
    out, err = capsys.readouterr()
    return Ended(code=code, out=out, err=err)


def save(path: Path, whole: Report) -> Path:
    """Write a report as it is, sealed or not."""
    path.write_text(codec.write_json(whole), encoding="utf-8")
    return path


def test_help_loads_nothing_heavy_and_shows_both_forms() -> None:
    program = (
        "import sys; from runner import cli, edge\n"
        "edge.run(cli.bench_runner, ['--help'], program='bench-runner')\n"
        f"sys.exit(' '.join(sorted(set({HEAVY}) & set(sys.modules))))"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stderr == "\n"
    assert found.stdout.startswith("Usage: bench-runner BUNDLE [OPTIONS]\n       bench-runner COMMAND [ARGS]...\n")
    for word in ("--artifact NAME", "--effort [quick|standard|rigorous]", "compare  ", "device   ", "verify   "):
        assert word in found.stdout


def test_operators_are_profiled_where_that_is_asked_for(measured: tuple[Ended, Path]) -> None:
    ended, folder = measured
    found = report_reader.load(next(folder.glob("*.report.json")))
    assert found.settings.profile_ops
    fp32, fp16 = found.artifacts
    assert {"Conv", "Gemm"} <= {operator.op_type for operator in fp32.operators}
    assert "fp32.onnx: dearest operators" in ended.out
    assert fp16.operators == ()


def test_the_efforts_are_those_of_the_report() -> None:
    assert get_args(Effort) == cli_options.EFFORTS


def test_measuring_prints_the_table_and_writes_a_report_that_holds(measured: tuple[Ended, Path]) -> None:
    ended, folder = measured
    found = report_reader.load(folder / "net.report.json")
    assert ended.code == (5 if found.status == "invalid" else 0)
    assert ended.err == "report: net.report.json\n"
    assert ended.out.startswith("net for x86\n")
    assert "fp16.onnx [" in ended.out
    assert "runs on aarch64, and this machine is" in ended.out
    assert verify.contradictions(found) == ()
    fp32 = found.artifact("fp32.onnx")
    assert fp32 is not None
    assert fp32.accuracy is not None
    assert (fp32.accuracy.top1, fp32.accuracy.agreement) == (1.0, 1.0)
    assert found.settings == report.Settings(threads=1, profile_ops=True)
    assert [path.name for path in folder.iterdir()] == ["net.report.json"]


def test_what_was_measured_is_verified_and_compared_with_its_like(
    measured: tuple[Ended, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = measured[1] / "net.report.json"
    ended = bench(capsys, "verify", path)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        f"{path}: the figures and reasons of 2 artifacts follow from the record, and the digest fits\n"
        "  as reported, for no record proves them: signal to noise, distances and flips from the host, joules\n"
    )
    other = save(
        tmp_path / "other.json", report.seal(replace(report_reader.load(path), created="2026-11-01T12:00:01Z"))
    )
    compared = bench(capsys, "compare", path, other, "--max-accuracy-drop", "6%", "--max-latency", "1min")
    assert (compared.code, compared.out) == (2, "")
    assert "'1min' is no time: write 5ms, 800us or 1.5s" in compared.err
    compared = bench(capsys, "compare", path, other, "--max-accuracy-drop", "6%", "--max-latency", "60s")
    assert compared.code == 0
    assert "held       fp32.onnx  top-1 at most -6.00 points" in compared.out
    assert "held       fp32.onnx  latency at most 60.0 s" in compared.out


def test_an_interrupted_run_writes_what_it_has_and_ends_with_130(bundle: Path, here: Path) -> None:
    running = subprocess.Popen(
        [*bench_runner(), str(bundle), "--effort", "rigorous", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + 60
    while not children.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "report: net.report.json\n")
    assert (here / "net.report.json").read_text(encoding="utf-8") == out
    assert not report_reader.load(here / "net.report.json").complete


def test_a_program_can_follow_a_run_line_by_line(bundle: Path, here: Path) -> None:
    found = subprocess.run(
        [*bench_runner(), str(bundle), "--threads", "1", "--progress", "json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [json.loads(line) for line in found.stderr.splitlines()]
    assert told[0] == {"task": "fp32.onnx: answers", "total": SAMPLES, "done": 0, "note": ""}
    assert told[-1] == {"say": "report: net.report.json"}
    timing = [line for line in told if line.get("task") == "timing"]
    assert (timing[0]["done"], timing[-1]["done"], timing[-1]["note"]) == (0, 5, "fp32.onnx")
    assert {line["total"] for line in timing} == {5}
    assert (here / "net.report.json").exists()
    assert found.stdout.startswith("net for x86\n")


def test_a_missing_or_foreign_bundle_is_exit_3(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = bench(capsys, "net.edgepack")
    assert (ended.code, ended.err) == (3, "error: net.edgepack: cannot be read: No such file or directory\n")
    (here / "notes.txt").write_text("hello")
    ended = bench(capsys, "notes.txt")
    assert ended.code == 3
    assert ended.err.startswith("error: notes.txt: ")
    assert list(here.iterdir()) == [here / "notes.txt"]


def test_a_word_near_a_command_is_taken_for_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = bench(capsys, "compair", "a.json", "b.json")
    assert (ended.code, ended.err) == (
        2,
        "error: compair: no such command, and no such file; did you mean 'compare'?\n",
    )
    (here / "compair").write_text("a file of that name is a bundle after all")
    assert bench(capsys, "compair").code == 3


def test_options_may_stand_before_the_bundle(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = bench(capsys, "--effort", "quick", "net.edgepack")
    assert (ended.code, ended.err) == (3, "error: net.edgepack: cannot be read: No such file or directory\n")


def test_a_report_that_could_not_be_written_is_refused_before_measuring(
    bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = bench(capsys, bundle, "-o", here / "gone" / "r.json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"error: {here}/gone/r.json: cannot be written: there is no folder {here}/gone\n  try: another place with -o\n"
    )


def test_a_report_does_not_take_the_place_of_the_bundle(
    bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "net.edgepack"
    before = bundle.read_bytes()
    path.write_bytes(before)
    ended = bench(capsys, path, "-o", path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"error: {path}: is the bundle itself, and the report would replace it\n  try: another place with -o\n"
    )
    assert path.read_bytes() == before


def test_an_artifact_that_there_is_not_is_a_usage_error(
    bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = bench(capsys, bundle, "--artifact", "fp31.onnx")
    assert ended.code == 2
    assert "no artifact 'fp31.onnx' in this bundle" in ended.err
    assert list(here.iterdir()) == []


def test_nothing_that_can_run_is_exit_4(bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = bench(capsys, bundle, "--artifact", "fp16.onnx")
    assert ended.code == 4
    assert "runs on aarch64, and this machine is" in ended.err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--max-slowdown", "150%"], 0),
        (["--max-slowdown", "5%"], 1),
        (["--max-slowdown", "0.05"], 1),
        (["--max-latency", "400us"], 0),
        (["--max-latency", "400us", "--strict"], 1),
        (["--max-latency", "0.3ms"], 0),
        (["--max-latency", "290 µs"], 1),
        (["--max-accuracy-drop", "0.5%"], 0),
        (["--max-accuracy-drop", "0.5%", "--strict"], 1),
        (["--max-slowdown", "100%"], 0),
        (["--max-slowdown", "100%", "--strict"], 1),
    ],
)
def test_comparing_ends_with_1_where_a_limit_is_missed(
    options: list[str], code: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, device = save(here / "host.json", reports.host()), save(here / "device.json", reports.board())
    ended = bench(capsys, "compare", host, device, *options)
    assert (ended.code, ended.err) == (code, "")
    assert ended.out.startswith("net for x86: the device beside the host\n")


def test_the_margins_of_a_comparison_are_the_users(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(here / "host.json", reports.host())
    other = save(here / "other.json", report.seal(replace(reports.host(), created="2026-11-01T12:00:01Z")))
    words = {}
    for options in ([], ["--margin", "8%", "--accuracy-margin", "6%"]):
        found = codec.read_json(Comparison, bench(capsys, "compare", path, other, "--json", *options).out)
        int8 = found.artifacts[1]
        assert int8.answers is not None
        words[found.margins.latency, found.margins.accuracy] = (int8.word, int8.answers.word)
    assert words == {(0.02, 0.01): ("inconclusive", "undecided"), (0.08, 0.06): ("equivalent", "non-inferior")}
    assert bench(capsys, "compare", path, other, "--margin", "2").code == 2


def test_one_report_alone_is_not_judged(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(here / "host.json", reports.host())
    copy = save(here / "copy.json", reports.host())
    for second in (path, copy):
        ended = bench(capsys, "compare", path, second, "--max-slowdown", "5%")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(
            f"error: {second}: is the same report as the first: nothing can differ, and so nothing is judged\n  try: "
        )


def test_a_comparison_is_one_json_document_or_markdown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host, device = save(here / "host.json", reports.host()), save(here / "device.json", reports.board())
    ended = bench(capsys, "compare", host, device, "--max-slowdown", "5%", "--json")
    found = codec.read_json(Comparison, ended.out)
    assert (ended.code, found.violated, found.limits.max_slowdown) == (1, True, 0.05)
    ended = bench(capsys, "compare", host, device, "--markdown")
    assert ended.out.startswith("### net for x86: the device beside the host\n")
    ended = bench(capsys, "compare", host, device, "--markdown", "--json")
    assert (ended.code, ended.err) == (2, "error: --json and --markdown exclude each other\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5", "'5' may be meant either way: write 5% or a fraction below 1"),
        ("five", "'five' is no percentage: write 5% or 0.05"),
        ("-1%", "'-1%' is no limit: write 5% or 0.05"),
        ("nan", "'nan' is no limit: write 5% or 0.05"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_a_usage_error(
    text: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = bench(capsys, "compare", "a", "b", "--max-slowdown", text)
    assert ended.code == 2
    assert problem in " ".join(ended.err.split())


def test_a_percentage_is_the_nearest_fraction() -> None:
    percentage = Percentage()
    assert percentage.convert("0.3%", None, None) == 6 / 2000
    assert percentage.convert(" 5 % ", None, None) == 0.05
    assert percentage.convert("0.05", None, None) == 0.05


def test_reports_of_two_bundles_are_exit_3(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = save(here / "host.json", reports.host())
    other = save(here / "other.json", report.seal(replace(reports.board(), bundle_id="cd" * 32)))
    ended = bench(capsys, "compare", host, other)
    assert ended.code == 3
    assert ended.err.startswith(f"error: not reports of the same bundle: the host's is of {'ab' * 32}")


def test_a_bundle_stands_for_its_host_report_and_one_without_is_told(
    bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = bench(capsys, "compare", bundle, save(here / "device.json", reports.board()))
    assert (ended.code, ended.err) == (
        3,
        f"error: {bundle}: holds no host report\n  try: pack it again, or name a report\n",
    )


def test_a_bundle_is_verified_entry_by_entry(bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = bench(capsys, "verify", bundle)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{bundle}: every hash fits: ")
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    (here / "bad.edgepack").write_bytes(content)
    ended = bench(capsys, "verify", "bad.edgepack")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: bad.edgepack: ")


def test_figures_that_were_made_up_are_named_each(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = reports.host().artifacts[1]
    assert part.latency is not None
    faster = replace(part, latency=replace(part.latency, median_ns=50_000.0, first_ns=1.0))
    save(here / "r.json", reports.with_artifact(reports.host(), faster))
    ended = bench(capsys, "verify", "r.json")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        "error: r.json: figures do not follow from the record:\n"
        "  int8.onnx: latency.median_ns: reported 50000, the record gives 60000\n"
        "  int8.onnx: latency.first_ns: reported 1, the record gives 180000\n"
    )


def test_an_older_report_is_verified_without_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    ended = bench(capsys, "verify", ROOT / "tests" / "golden" / "report-1.1.json")
    assert ended.code == 0
    assert "the figures of 2 artifacts follow from the record, and the digest fits\n" in ended.out
    assert ended.out.endswith("joules; and with schema 1.1 the reasons and the fastest\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "is no report: schema: expected a version such as '1.3', got None"),
        ("{}", "is no report: schema: expected a version such as '1.3', got None"),
        ('"hello"', "is no report: schema: expected a version such as '1.3', got None"),
        ('{"schema": "1.3", "artifacts": []}', "is no report: "),
        ("hello", "not JSON: "),
        ("", "not JSON: "),
    ],
)
def test_json_that_is_no_report_is_called_none(
    text: str, problem: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "x.json").write_text(text)
    for command in (["verify", "x.json"], ["compare", "x.json", "x.json"]):
        ended = bench(capsys, *command)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.startswith(f"error: x.json: {problem}")
        assert "is not a bundle" not in ended.err


def test_a_bundle_is_one_whatever_its_name(bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "net.json").write_bytes(bundle.read_bytes())
    assert bench(capsys, "verify", "net.json").out.startswith("net.json: every hash fits: ")


def test_a_report_altered_after_it_was_sealed_is_exit_3(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(here / "r.json", replace(reports.host(), fastest="int8.onnx"))
    ended = bench(capsys, "verify", "r.json")
    assert ended.code == 3
    assert "its digest does not fit its content" in ended.err


def test_the_device_is_one_json_document_or_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(bench(capsys, "device", "--json").out)
    facts = codec.structure(DeviceFacts, found["facts"])
    assert facts.machine == os.uname().machine
    assert codec.structure(DeviceState, found["state"]).load_average is not None
    page = bench(capsys, "device")
    assert page.out.startswith(f"{facts.board or facts.cpu}")
    assert page.code == 0


def test_a_bundle_that_is_started_is_the_bundle(bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = subprocess.run(
        [sys.executable, str(bundle), "verify"], cwd=here, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith(f"{bundle}: every hash fits: ")
    assert cli.run_bundle(bundle, ["--artifact", "fp16.onnx"]) == 4
    capsys.readouterr()
    assert cli.run_bundle(Path("net.edgepack"), ["--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: python3 net.edgepack BUNDLE [OPTIONS]\n")
