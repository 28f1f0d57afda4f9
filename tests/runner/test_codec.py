"""Documents to and from our types: strict, every problem at once, and a round trip that changes nothing."""

import dataclasses
import hashlib
import json
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.recipe import Recipe
from runner import codec
from runner.codec import InvalidDocumentError
from runner.manifest import Artifact, Json, Manifest, Target
from runner.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """One of several in a list."""

    spokes: int
    width: float = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Bicycle:
    """Something in every kind of field that documents have."""

    name: str
    folded: bool = False
    gears: int | None = None
    brake: Literal["disc", "rim"] = "disc"
    wheels: tuple[Wheel, ...] = ()
    laps_ns: tuple[int, ...] = ()
    heights: tuple[float, ...] | None = None
    words: tuple[str, ...] = ()
    parts: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: dict[str, Json] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Versioned:
    """A document with a version."""

    schema: str = "2.3"
    name: str = ""
    wheels: tuple[Wheel, ...] = ()


def problems(read: Callable[[], object]) -> tuple[str, ...]:
    """Return what is wrong with a document."""
    with pytest.raises(InvalidDocumentError) as caught:
        read()
    return caught.value.problems


def of_bicycle(data: object) -> tuple[str, ...]:
    """Return what is wrong with `data` as a bicycle, once read from JSON."""
    return problems(lambda: codec.read_json(Bicycle, json.dumps(data)))


def test_a_document_becomes_frozen_values_and_lists_become_tuples() -> None:
    text = (
        '{"name": "a", "folded": true, "gears": 7, "brake": "rim", "wheels": [{"spokes": 32}], "laps_ns": [1, 2],'
        ' "heights": [1, 2.5], "words": ["x"], "parts": {"a": "b"}, "notes": {"n": [1, null, {"x": true}]}}'
    )
    assert codec.read_json(Bicycle, text) == Bicycle(
        name="a",
        folded=True,
        gears=7,
        brake="rim",
        wheels=(Wheel(spokes=32, width=1.5),),
        laps_ns=(1, 2),
        heights=(1.0, 2.5),
        words=("x",),
        parts={"a": "b"},
        notes={"n": [1, None, {"x": True}]},
    )


def test_what_is_left_out_has_its_default_and_null_is_none() -> None:
    assert codec.read_json(Bicycle, b'{"name": "a", "gears": null}') == Bicycle(name="a")


def test_every_problem_is_told_at_once_with_the_path_of_its_key() -> None:
    data = {
        "folded": 1,
        "gears": "7",
        "brake": "dics",
        "wheels": [{"spokes": 32}, {"spokes": 1.0, "width": "wide"}, 5, {}],
        "laps_ns": [1, True],
        "heights": [1.5, None],
        "words": "abc",
        "parts": {"bell": 5},
        "weels": [],
    }
    assert set(of_bicycle(data)) == {
        "name: missing",
        "folded: expected true or false, got 1",
        "gears: expected an integer, got '7'",
        "brake: expected one of 'disc', 'rim', got 'dics'; did you mean 'disc'?",
        "wheels[1].spokes: expected an integer, got 1.0",
        "wheels[1].width: expected a number, got 'wide'",
        "wheels[2]: expected a table of keys, got 5",
        "wheels[3].spokes: missing",
        "laps_ns: expected a list of integers",
        "heights[1]: expected a number, got None",
        "words: expected a list, got 'abc'",
        "parts[bell]: expected a string, got 5",
        "weels: unknown key; did you mean 'wheels'?",
    }


def test_an_unknown_key_without_a_near_one_names_those_that_there_are() -> None:
    assert problems(lambda: codec.read_json(Wheel, '{"spokes": 1, "colour": 2, "xyz": 3}')) == (
        "colour: unknown key; known keys: spokes, width",
        "xyz: unknown key; known keys: spokes, width",
    )


def test_a_key_that_would_move_the_cursor_is_shown_escaped() -> None:
    assert problems(lambda: codec.read_json(Wheel, '{"spokes": 1, "\\u001b[2J": 2}')) == (
        "'\\x1b[2J': unknown key; known keys: spokes, width",
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("gears", True, "gears: expected an integer, got True"),
        ("gears", "5", "gears: expected an integer, got '5'"),
        ("gears", 5.0, "gears: expected an integer, got 5.0"),
        ("folded", 0, "folded: expected true or false, got 0"),
        ("folded", "true", "folded: expected true or false, got 'true'"),
        ("name", 5, "name: expected a string, got 5"),
        ("name", None, "name: expected a string, got None"),
        ("name", ["a"], "name: expected a string, got ['a']"),
        ("heights", [True], "heights[0]: expected a number, got True"),
        ("heights", ["1.5"], "heights[0]: expected a number, got '1.5'"),
        ("words", {"a": "b"}, "words: expected a list, got {'a': 'b'}"),
        ("laps_ns", "12", "laps_ns: expected a list of integers"),
        ("laps_ns", [1.0], "laps_ns: expected a list of integers"),
        ("parts", [["a", "b"]], "parts: expected a table of keys, got [['a', 'b']]"),
        ("wheels", {"spokes": 1}, "wheels: expected a list, got {'spokes': 1}"),
        ("brake", ["disc"], "brake: expected one of 'disc', 'rim', got ['disc']"),
    ],
)
def test_no_value_is_taken_for_another_kind(key: str, value: object, problem: str) -> None:
    assert of_bicycle({"name": "a", key: value}) == (problem,)


def test_a_long_value_is_shown_in_part() -> None:
    assert of_bicycle({"name": ["x" * 100]}) == ("name: expected a string, got ['" + "x" * 55 + "...",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("{'name': 1}", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ('{"spokes": NaN}', "not JSON: NaN is no JSON number"),
        ('{"spokes": -Infinity}', "not JSON: -Infinity is no JSON number"),
        ('{"width": 1e999}', "not JSON: 1e999 is beyond what a number can hold"),
        (b"\xff{}", "not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("[]", "document: expected a table of keys, got []"),
        ("null", "document: expected a table of keys, got None"),
    ],
)
def test_what_is_no_document_is_refused_in_words(text: str | bytes, problem: str) -> None:
    assert problems(lambda: codec.read_json(Wheel, text)) == (problem,)


def test_brackets_without_end_are_refused() -> None:
    (problem,) = problems(lambda: codec.read_json(Wheel, "[" * 100_000))
    assert problem.startswith("not JSON: maximum recursion depth exceeded")


def test_a_number_of_too_many_digits_is_refused() -> None:
    (problem,) = problems(lambda: codec.read_json(Wheel, '{"spokes": ' + "1" * 5000 + "}"))
    assert problem.startswith("not JSON: Exceeds the limit (4300 digits)")
    (problem,) = problems(lambda: codec.read_toml(Wheel, f"spokes = {'1' * 5000}"))
    assert problem.startswith("not TOML: Exceeds the limit (4300 digits)")
    (problem,) = problems(lambda: codec.read_json(Wheel, '{"spokes": 1, "width": 1' + "0" * 400 + "}"))
    assert problem == "width: expected a finite number, got 1" + "0" * 56 + "..."


@pytest.mark.parametrize("text", ['{"name": "\\ud800"}', b'{"name": "\xed\xa0\x80"}', '{"name": "\ud800"}'])
def test_half_a_letter_is_refused_for_it_cannot_be_written_again(text: str | bytes) -> None:
    (problem,) = problems(lambda: codec.read_json(Bicycle, text))
    assert problem.startswith("not JSON: 'utf-8' codec can't ")


def test_a_letter_of_two_halves_is_one() -> None:
    assert codec.read_json(Bicycle, '{"name": "\\ud83d\\udeb2"}').name == "🚲"


def test_plain_data_for_somebody_else_may_not_nest_without_end() -> None:
    nested: object = []
    for _ in range(31):
        nested = [nested]
    assert codec.read_json(Bicycle, json.dumps({"name": "a", "notes": {"n": nested}})).notes["n"] == nested
    assert of_bicycle({"name": "a", "notes": {"n": [[nested]]}}) == ("notes[n]: nested too deeply",)


def test_toml_is_held_as_json_is() -> None:
    assert codec.read_toml(Bicycle, 'name = "a"\nheights = [1, 2.5]\n[[wheels]]\nspokes = 3\n') == Bicycle(
        name="a", heights=(1.0, 2.5), wheels=(Wheel(spokes=3),)
    )
    assert set(problems(lambda: codec.read_toml(Bicycle, "name = 2020-01-01\nheights = [nan, -inf]"))) == {
        "name: expected a string, got datetime.date(2020, 1, 1)",
        "heights[0]: expected a finite number, got nan",
        "heights[1]: expected a finite number, got -inf",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name = ", "not TOML: Invalid value (at end of document)"),
        ("a = 1\na = 2", "not TOML: Cannot overwrite a value (at "),
        ("a = " + "[" * 5000, "not TOML: maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_toml_is_refused_in_words(text: str, problem: str) -> None:
    (found,) = problems(lambda: codec.read_toml(Bicycle, text))
    assert found.startswith(problem)


def test_a_version_that_is_known_is_read_strictly() -> None:
    assert codec.read_versioned(Versioned, '{"schema": "2.3", "name": "a"}', "2.3").name == "a"
    older = codec.read_versioned(Versioned, '{"schema": "2.0", "name": "a"}', "2.3")
    assert older == Versioned(schema="2.0", name="a")
    for minor in (0, 3):
        text = f'{{"schema": "2.{minor}", "colour": 1}}'
        assert problems(lambda text=text: codec.read_versioned(Versioned, text, "2.3")) == (  # type: ignore[misc]
            "colour: unknown key; known keys: schema, name, wheels",
        )


def test_a_newer_minor_is_read_without_the_keys_that_are_unknown_here() -> None:
    text = '{"schema": "2.4", "colour": 1, "wheels": [{"spokes": 32, "tyre": "slick"}]}'
    assert codec.read_versioned(Versioned, text, "2.3") == Versioned(schema="2.4", wheels=(Wheel(spokes=32),))
    wrong = '{"schema": "2.4", "colour": 1, "name": 5}'
    assert problems(lambda: codec.read_versioned(Versioned, wrong, "2.3")) == ("name: expected a string, got 5",)


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("3.0", "schema: version 3.0 cannot be read here, only 2.x; update edgepack"),
        ("1.9", "schema: version 1.9 cannot be read here, only 2.x; make it again with this version"),
        ("0.0", "schema: version 0.0 cannot be read here, only 2.x; make it again with this version"),
    ],
)
def test_another_major_is_refused_with_what_to_do(version: str, problem: str) -> None:
    # Its other keys say nothing to this version, and are not complained of.
    text = json.dumps({"schema": version, "name": 5, "colour": 1})
    assert problems(lambda: codec.read_versioned(Versioned, text, "2.3")) == (problem,)


@pytest.mark.parametrize(
    "found", [2.3, "2", "2.3.1", " 2.3", "02.3", "2.03", "v2.3", "٢.٣", "2.3\n", None, ["2.3"], ""]
)
def test_what_is_no_version_is_refused(found: object) -> None:
    expected = (f"schema: expected a version such as '2.3', got {found!r}",)
    assert problems(lambda: codec.read_versioned(Versioned, json.dumps({"schema": found}), "2.3")) == expected


@pytest.mark.parametrize("text", ["{}", "[]", "5", '"2.3"'])
def test_a_document_without_a_version_is_refused(text: str) -> None:
    expected = ("schema: expected a version such as '2.3', got None",)
    assert problems(lambda: codec.read_versioned(Versioned, text, "2.3")) == expected


def test_json_is_written_in_the_order_of_the_fields_with_its_letters_as_they_are() -> None:
    wheel = Versioned(name="Größe", wheels=(Wheel(spokes=3),))
    assert codec.write_json(wheel) == '{"schema":"2.3","name":"Größe","wheels":[{"spokes":3,"width":1.5}]}\n'
    assert codec.write_json(Wheel(spokes=3), indent=2) == '{\n  "spokes": 3,\n  "width": 1.5\n}\n'


def test_what_is_no_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        codec.write_json(Wheel(spokes=1, width=float("nan")))


def test_a_digest_is_that_of_the_canonical_json() -> None:
    expected = hashlib.sha256(b'{"spokes":3,"width":1.5}').hexdigest()
    assert codec.digest(Wheel(width=1.5, spokes=3)) == expected
    assert codec.digest({"width": 1.5, "spokes": 3}) == expected
    assert codec.digest(Wheel(spokes=4)) != expected


def test_the_digest_that_a_document_holds_is_that_of_all_its_other_keys_also_of_those_that_are_not_known() -> None:
    sealed = {"spokes": 3, "moon": "full", "digest": ""}
    expected = codec.digest(sealed)
    for digest in ("", "ab", None):
        assert codec.sealed_digest(json.dumps({**sealed, "digest": digest}, indent=3), "digest") == expected
    assert codec.sealed_digest(json.dumps({**sealed, "moon": "new"}), "digest") != expected
    assert codec.sealed_digest(b"[1]", "digest") == codec.digest([1])
    with pytest.raises(codec.InvalidDocumentError, match=r"^not JSON: "):
        codec.sealed_digest(b"{", "digest")


# What can stand in a document: text without halves of letters, and numbers that JSON has.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63)
PLAIN = st.recursive(
    st.none() | st.booleans() | INTEGERS | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
SCALARS: dict[object, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: INTEGERS,
    float: NUMBERS,
    bool: st.booleans(),
    types.NoneType: st.none(),
    Json: PLAIN,
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return every value that a field of the type `kind` may have."""
    if kind in SCALARS:
        return SCALARS[kind]
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        fields = {field.name: values(hints[field.name]) for field in dataclasses.fields(kind)}
        return st.fixed_dictionaries(fields).map(lambda given: kind(**given))  # type: ignore[operator]
    inner = get_args(kind)
    match get_origin(kind):
        case origin if origin is Literal:
            found: st.SearchStrategy[Any] = st.sampled_from(inner)
        case origin if origin is tuple:
            found = st.lists(values(inner[0]), max_size=2).map(tuple)
        case origin if origin is dict:
            found = st.dictionaries(TEXT, values(inner[1]), max_size=2)
        case _:
            found = st.one_of([values(part) for part in inner])
    return found


def outcome(read: Callable[[], object]) -> object:
    """Return what was read, or the error that says what is wrong; anything else is raised."""
    try:
        return read()
    except InvalidDocumentError as error:
        return error


@pytest.mark.parametrize("kind", [Manifest, Recipe, Bicycle])
def test_writing_and_reading_changes_nothing(kind: type[Any]) -> None:
    @given(values(kind))
    @settings(max_examples=50, deadline=None)
    def holds(value: object) -> None:
        text = codec.write_json(value)
        assert codec.read_json(kind, text) == value
        assert codec.read_json(kind, codec.write_json(value, indent=2).encode()) == value
        assert codec.write_json(codec.read_json(kind, text)) == text

    holds()


# Reports are deep: one example takes hypothesis a hundred draws.
@given(values(Report))
@settings(max_examples=20, deadline=None)
def test_a_report_is_the_same_after_writing_and_reading(value: Report) -> None:
    assert codec.read_json(Report, codec.write_json(value)) == value


@given(st.sampled_from([Manifest, Report, Recipe, Target, Artifact]), PLAIN)
@settings(max_examples=200, deadline=None)
def test_no_json_raises_anything_but_what_is_wrong_with_it(kind: type[Any], data: object) -> None:
    text = json.dumps(data)
    for found in (
        outcome(lambda: codec.read_json(kind, text)),
        outcome(lambda: codec.read_versioned(kind, text, "1.0")),
    ):
        if isinstance(found, InvalidDocumentError):
            assert found.problems
            assert all(": " in problem for problem in found.problems)
        else:
            assert isinstance(found, kind)


SMALL = codec.unstructure(Bicycle(name="a", wheels=(Wheel(spokes=1),), parts={"a": "b"}, notes={"a": [1, {"b": None}]}))


@given(st.sampled_from(sorted(SMALL)), PLAIN)
@settings(max_examples=200, deadline=None)
def test_any_value_in_any_field_is_taken_or_told_by_its_key(key: str, value: object) -> None:
    changed = {**SMALL, key: value}
    found = outcome(lambda: codec.read_json(Bicycle, json.dumps(changed)))
    if isinstance(found, InvalidDocumentError):
        assert all(problem.startswith(key) for problem in found.problems)
    else:
        assert codec.unstructure(found) == changed


def test_an_integer_that_a_float_would_round_is_told() -> None:
    assert codec.read_json(tuple[float, ...], "[9007199254740992]") == (9007199254740992.0,)
    with pytest.raises(InvalidDocumentError, match="expected a number that 64 bits hold, got 9007199254740993"):
        codec.read_json(tuple[float, ...], "[9007199254740993]")


@given(st.text() | st.binary())
@settings(max_examples=200, deadline=None)
def test_no_text_raises_anything_but_what_is_wrong_with_it(text: str | bytes) -> None:
    for read in (codec.read_json, lambda cls, given: codec.read_versioned(cls, given, "1.0")):
        with pytest.raises(InvalidDocumentError):
            read(Manifest, text)
    with pytest.raises(InvalidDocumentError):
        codec.read_toml(Manifest, text if isinstance(text, str) else text.decode("latin-1"))
