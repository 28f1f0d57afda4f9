"""The published schema: what the types give, what every golden report holds to, and what a wrong one does not."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jsonschema
import pytest

from runner import codec, report, schema
from tests import reports

ROOT = Path(__file__).parent.parent.parent
PUBLISHED = ROOT / schema.FILE
GOLDEN = sorted((ROOT / "tests" / "golden").glob("report-*.json"))

Document = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A leaf."""

    size: float
    """In bytes, over
    two lines; None never."""
    _note = ""
    "of no field"


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A tree."""

    schema: str = "2.1"
    name: str | None
    kind: Literal["oak", "fir"] | None = None
    leaves: tuple[Leaf, ...] = ()
    best: Leaf | None = None
    counts: dict[str, int] | None = None


def published() -> Mapping[str, object]:
    """Return the committed schema."""
    found: Mapping[str, object] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return found


def problems(document: object) -> list[str]:
    """Return what the committed schema has against a document, as `path: message`."""
    validator = jsonschema.Draft202012Validator(published())
    errors = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    return [f"{error.json_path}: {error.message}" for error in errors]


def document(path: Path) -> Document:
    """Return a report as plain data."""
    found: Document = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_the_published_schema_is_what_the_types_give() -> None:
    # Where this fails: `make schema`.
    expected = schema.text(schema.document_schema(report.Report, report.SCHEMA))
    assert PUBLISHED.read_text(encoding="utf-8") == expected


def test_the_command_writes_it_where_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    subprocess.run([sys.executable, "-m", "runner.schema", str(path)], check=True, cwd=ROOT)
    assert path.read_bytes() == PUBLISHED.read_bytes()


def test_the_published_schema_is_one_of_its_dialect_and_names_its_version() -> None:
    found = published()
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["$id"] == f"urn:edgepack:report:{report.SCHEMA}"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_golden_report_holds_to_it(path: Path) -> None:
    assert problems(document(path)) == []


def test_a_golden_report_of_every_minor_version_is_there() -> None:
    newest = int(report.SCHEMA.partition(".")[2])
    assert [path.stem for path in GOLDEN] == [f"report-1.{minor}" for minor in range(newest + 1)]


def test_reports_as_they_are_written_hold_to_it() -> None:
    for whole in (reports.host(), reports.board(), reports.complete()):
        assert problems(json.loads(codec.write_json(whole))) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda it: it.pop("labels"), "$: 'labels' is a required property"),
        (lambda it: it.pop("schema"), "$: 'schema' is a required property"),
        (lambda it: it.update(schema="2.0"), "$.schema: '2.0' is not one of ['1.0', '1.1', '1.2', '1.3']"),
        (
            lambda it: it.update(moon="full"),
            "$: Additional properties are not allowed ('moon' was unexpected)",
        ),
        (lambda it: it.update(labels=[1, "2"]), "$.labels[1]: '2' is not of type 'integer'"),
        (lambda it: it["settings"].update(threads="2"), "$.settings.threads: '2' is not of type 'integer'"),
        (
            lambda it: it["settings"].update(effort="quik"),
            "$.settings.effort: 'quik' is not one of ['quick', 'standard', 'rigorous']",
        ),
        (lambda it: it["device"].update(environment={"A": 1}), "$.device.environment.A: 1 is not of type 'string'"),
        (lambda it: it.update(complete=None), "$.complete: None is not of type 'boolean'"),
    ],
)
def test_a_wrong_report_does_not_hold_to_it(change: Callable[[Document], object], problem: str) -> None:
    wrong = json.loads(codec.write_json(reports.host()))
    change(wrong)
    assert problems(wrong) == [problem]
    with pytest.raises(codec.InvalidDocumentError):
        codec.read_versioned(report.Report, json.dumps(wrong), report.SCHEMA)


def test_a_part_that_may_be_missing_is_either_null_or_whole() -> None:
    wrong = json.loads(codec.write_json(reports.host()))
    wrong["artifacts"][0]["latency"] = None
    assert problems(wrong) == []
    wrong["artifacts"][0]["latency"] = {"batch": 1}
    (problem,) = problems(wrong)
    assert problem.startswith("$.artifacts[0].latency: {'batch': 1} is not valid under any of the given schemas")


def test_dataclasses_become_tables_and_what_stands_under_a_field_its_description() -> None:
    found = schema.document_schema(Tree, "2.1")
    assert found["$id"] == "urn:edgepack:tree:2.1"
    assert found["required"] == ["schema", "name"]
    assert found["properties"] == {
        "schema": {"enum": ["2.0", "2.1"]},
        "name": {"type": ["string", "null"]},
        "kind": {"anyOf": [{"enum": ["oak", "fir"]}, {"type": "null"}]},
        "leaves": {"type": "array", "items": {"$ref": "#/$defs/Leaf"}},
        "best": {"anyOf": [{"$ref": "#/$defs/Leaf"}, {"type": "null"}]},
        "counts": {"anyOf": [{"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "null"}]},
    }
    assert found["$defs"] == {
        "Leaf": {
            "description": "A leaf.",
            "type": "object",
            "properties": {"size": {"type": "number", "description": "In bytes, over two lines; null never."}},
            "required": ["size"],
            "additionalProperties": False,
        }
    }


def test_a_type_that_no_document_has_is_refused() -> None:
    @dataclass
    class Odd:
        schema: str
        path: Path

    with pytest.raises(TypeError, match=r"^no schema of <class 'pathlib\.Path'>$"):
        schema.document_schema(Odd, "1.0")


def test_descriptions_are_what_stands_under_the_fields_of_a_report() -> None:
    definitions = published()["$defs"]
    assert isinstance(definitions, dict)
    median = definitions["Latency"]["properties"]["median_ns"]
    assert median == {"type": "number", "description": "Median of the processes' medians."}
    assert definitions["Process"]["properties"]["first_ns"]["description"] == "The first inference, cold."
