"""The report as a document: what is written is what is read, and nothing that was altered is believed."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner import codec, report, report_reader
from runner.errors import ReportError
from runner.measure.latency import Timings
from runner.packing import Packing
from runner.reason import Reason
from runner.report import SCHEMA, Latency, Report, Scenario, Settings
from tests import reports

GOLDEN = Path(__file__).parent.parent / "golden"

Document = dict[str, object]

NEVER_FILLED = {("Report", "schema"), ("Report", "fastest")}
"""The one is at its default in every document, the other is none where a machine was emulated, as this one was."""


def altered(change: Callable[[Document], object]) -> str:
    """Return the text of a good report in which one thing was changed after it was sealed."""
    document = json.loads(codec.write_json(reports.host()))
    change(document)
    return json.dumps(document)


def test_the_golden_report_is_read_and_written_as_it_stands() -> None:
    # Where this fails the format has changed: schema 1.x may only gain keys, and then gets a golden file of its own.
    # As long as nothing was released with the newest schema, `python -m tests.reports` writes its file again.
    path = GOLDEN / f"report-{SCHEMA}.json"
    found = report_reader.load(path)
    assert found == reports.complete()
    assert codec.write_json(found, indent=1) == path.read_text(encoding="utf-8")


def newest_of_1_2() -> Report:
    """Return the golden report as schema 1.2 knew it: without a GPU, other processes, and the furthest sample."""
    whole = reports.complete()
    artifact = whole.artifacts[0]
    assert artifact.latency is not None
    assert artifact.runtime is not None
    (process,) = artifact.latency.processes
    seen = tuple(replace(each, gpu=None) for each in process.machine)
    older = replace(process, machine=seen, gpu_allocated_bytes=None, gpu_reserved_bytes=None, others=())
    assert artifact.accuracy is not None
    part = replace(
        artifact,
        accuracy=replace(artifact.accuracy, furthest_sample=None),
        runtime=replace(artifact.runtime, nodes=None, cpu_nodes=()),
        latency=replace(artifact.latency, processes=(older,)),
    )
    assert whole.packing is not None
    return replace(
        whole,
        schema="1.2",
        settings=replace(whole.settings, minimise="latency"),
        packing=replace(whole.packing, contenders=(), optimised=()),
        device=replace(whole.device, gpu=None, gpu_unknown=""),
        before=replace(whole.before, gpu=None),
        after=replace(whole.after, gpu=None),
        artifacts=(part, *whole.artifacts[1:]),
    )


def test_the_golden_report_of_schema_1_2_stays_readable() -> None:
    found = report_reader.load(GOLDEN / "report-1.2.json")
    assert found == replace(newest_of_1_2(), digest=found.digest)
    assert found.digest == "bc6e9fe65267c58a3007b3ee74815e83e05e9beb5be7dcef6360202a5a184235"


def newest_of_1_1() -> Report:
    """Return the golden report as schema 1.1 knew it."""
    whole = newest_of_1_2()
    artifact = whole.artifacts[0]
    assert artifact.accuracy is not None
    older = replace(
        artifact,
        accuracy=replace(artifact.accuracy, least_cosine=None, kl_nats=None),
        latency=latency_of_1_1(),
        scenarios=(),
        expected=None,
        energy=(),
        operators=(),
        reasons=(),
    )
    return replace(
        whole,
        schema="1.1",
        fastest=older.name,
        reasons=(Reason(code="virtual", level="caveat", detail="a virtual machine", advice="bare metal"),),
        settings=Settings(threads=2),
        device=replace(whole.device, cpu_quota=None),
        artifacts=(older, *whole.artifacts[1:]),
        complete=True,
        interleaved=None,
        noise_floor=None,
        inputs_sha256=None,
    )


def latency_of_1_1() -> Latency:
    """Return a latency with what schema 1.1 knew of it."""
    short = replace(reports.process(60_000), samples_ns=(61_000, 60_000, 59_000), warmup_ns=(120_000,))
    timings = Timings(scenario=Scenario(threads=2), processes=(short, short), failures=("killed by signal 9",))
    return replace(reports.summary(timings), threads=None, steadiness=None)


def test_the_golden_report_of_schema_1_1_stays_readable() -> None:
    found = report_reader.load(GOLDEN / "report-1.1.json")
    assert found == replace(newest_of_1_1(), digest=found.digest)
    assert found.digest == "d9ec50b632c942f409cd81428de52b2ba223c66cf8b587c3ee98756b5050cf78"


def test_the_golden_report_of_schema_1_0_stays_readable() -> None:
    found = report_reader.load(GOLDEN / "report-1.0.json")
    whole = newest_of_1_1()
    assert whole.packing is not None
    artifacts = tuple(replace(part, title="") for part in whole.artifacts)
    packing = Packing(epochs=whole.packing.epochs, steps=whole.packing.steps)
    older = replace(whole, schema="1.0", artifacts=artifacts, packing=packing, digest=found.digest)
    assert found == older
    assert found.digest == "d071651509412395b001b00cd979f072309fc9ef5404e8690ae4994edd5aa96e"


@pytest.mark.parametrize("schema", ["1.0", "1.1", "1.2", SCHEMA])
def test_an_altered_golden_report_is_refused(schema: str) -> None:
    text = (GOLDEN / f"report-{schema}.json").read_text(encoding="utf-8")
    for old, new in [('"top1": 0.5', '"top1": 0.75'), ('"train_accuracy": 0.8', '"train_accuracy": 0.9')]:
        assert text.count(old) == 1
        with pytest.raises(ReportError, match="its digest does not fit its content"):
            report_reader.read(text.replace(old, new), "report.json")


def instances(value: object) -> Iterator[object]:
    """Yield every dataclass in a document."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from instances(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from instances(getattr(value, field.name))


def test_every_field_of_the_golden_report_is_somewhere_at_something_else_than_its_default() -> None:
    # A field that is empty in it could change its form unnoticed.
    found = list(instances(report_reader.load(GOLDEN / f"report-{SCHEMA}.json")))
    kinds = {type(each).__name__ for each in found}
    assert kinds >= {"Report", "Process", "Counters", "OperatorTime", "EnergyUse", "Expectation", "BudgetRecord"}
    filled = {
        (type(each).__name__, field.name)
        for each in found
        for field in dataclasses.fields(each)  # type: ignore[arg-type]  # a dataclass, as `instances` says
        if getattr(each, field.name) not in (default(field), None, "", ())
    }
    every = {(type(each).__name__, field.name) for each in found for field in dataclasses.fields(each)}  # type: ignore[arg-type]
    assert every - filled == NEVER_FILLED


def default(field: dataclasses.Field[object]) -> object:
    """Return what a field holds where nobody fills it."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(codec.write_json(reports.host()), encoding="utf-8")
    assert report_reader.load(path) == reports.host()


def without_record(found: Report) -> Report:
    """Return a report of which nothing is left that was taken sample by sample."""

    def latency(each: Latency) -> Latency:
        bare = [replace(it, warmup_ns=(), samples_ns=(), device_ns=(), machine=(), others=()) for it in each.processes]
        return replace(each, processes=tuple(bare))

    artifacts = [
        replace(
            each,
            accuracy=each.accuracy and replace(each.accuracy, predictions=(), label_ranks=(), losses=()),
            latency=each.latency and latency(each.latency),
            scenarios=tuple(map(latency, each.scenarios)),
        )
        for each in found.artifacts
    ]
    return replace(found, artifacts=tuple(artifacts))


def test_a_summary_is_the_report_without_its_record(tmp_path: Path) -> None:
    found, file = reports.complete(), tmp_path / "report.json"
    file.write_text(codec.write_json(found), encoding="utf-8")
    summary = without_record(found)
    assert len(codec.write_json(summary)) < len(codec.write_json(found))
    assert report_reader.read_summary(file.read_bytes(), "report.json") == summary
    assert report_reader.load_summary(file) == summary


def test_a_file_whose_record_was_altered_has_no_summary(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text(altered(lambda document: document.update(labels=[0] * 40)), encoding="utf-8")
    with pytest.raises(ReportError, match="its digest does not fit its content"):
        report_reader.load_summary(file)
    with pytest.raises(ReportError, match="cannot be read: No such file or directory"):
        report_reader.load_summary(tmp_path / "none.json")


def test_sealing_again_changes_nothing_and_any_change_shows_in_the_digest() -> None:
    whole = reports.host()
    assert report.seal(whole) == whole
    assert report.seal(replace(whole, created="2026-11-01T12:00:01Z")).digest != whole.digest


def test_an_altered_figure_is_refused() -> None:
    text = altered(lambda document: document.update(fastest="int8.onnx"))
    with pytest.raises(ReportError) as caught:
        report_reader.read(text, "report.json")
    assert str(caught.value) == (
        "report.json: its digest does not fit its content: it was altered or damaged after it was written\n"
        "  try: measure again with `bench-runner`"
    )


def test_another_major_version_is_refused_and_a_newer_minor_is_read_without_its_new_keys() -> None:
    with pytest.raises(
        ReportError, match=r"^r\.json: schema: version 2\.0 cannot be read here, only 1\.x; update edgepack$"
    ):
        report_reader.read(altered(lambda document: document.update(schema="2.0")), "r.json")
    newer = json.loads(altered(lambda document: document.update(schema="1.7", moon="full")))
    digest = codec.digest({**newer, "digest": ""})
    found = report_reader.read(json.dumps({**newer, "digest": digest}), "r.json")
    assert found == replace(reports.host(), schema="1.7", digest=digest)
    with pytest.raises(ReportError, match="its digest does not fit its content"):
        report_reader.read(json.dumps({**newer, "digest": digest, "moon": "new"}), "r.json")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda document: document.pop("labels"), "labels: missing"),
        (lambda document: document.update(labels=[1, "2"]), "labels: expected a list of integers"),
        (lambda document: document.update(moon="full"), "moon: unknown key; "),
        (lambda document: document["settings"].update(threads="2"), "settings.threads: expected an integer, got '2'"),
        (lambda document: document["settings"].update(effort="quik"), "settings.effort: expected one of 'quick', "),
        (
            lambda document: document["artifacts"][0].update(size_bytes=1.5),
            "artifacts[0].size_bytes: expected an integer",
        ),
    ],
)
def test_a_key_that_is_wrong_is_named_with_its_path(change: Callable[[Document], object], problem: str) -> None:
    with pytest.raises(ReportError) as caught:
        report_reader.read(altered(change), "report.json")
    assert str(caught.value).startswith(f"report.json: {problem}")


def test_what_is_no_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"gone\.json: cannot be read: No such file or directory$"):
        report_reader.load(tmp_path / "gone.json")
    for text, problem in [
        ("", "not JSON"),
        ("[]", "is no report: schema: expected a version such as '1.3', got None\n  try: name a report that "),
        ('{"schema": "1.0", "artifacts": []}', "is no report: [a-z_]+: missing\n"),
        ('{"schema": "1.0"', "not JSON"),
    ]:
        with pytest.raises(ReportError, match=f"^r: {problem}"):
            report_reader.read(text, "r")


def test_the_status_is_the_worst_of_all_reasons() -> None:
    whole = reports.host()
    assert whole.status == "valid"
    caveat = Reason(code="virtual", level="caveat", detail="a virtual machine")
    invalid = Reason(code="emulated", level="invalid", detail="emulated")
    part = replace(whole.artifacts[0], reasons=(caveat,))
    assert reports.with_artifact(whole, part).status == "caveats"
    assert replace(reports.with_artifact(whole, part), reasons=(invalid,)).status == "invalid"


def test_an_artifact_is_found_by_its_name() -> None:
    assert reports.host().artifact("int8.onnx") == reports.host().artifacts[1]
    assert reports.host().artifact("int9.onnx") is None
