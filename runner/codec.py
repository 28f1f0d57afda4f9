"""JSON and TOML to and from our frozen dataclasses: every problem at once, each with the path of its key."""

import dataclasses
import functools
import hashlib
import json
import math
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar, get_args, get_origin

import cattrs
from cattrs.cols import mapping_structure_factory
from cattrs.errors import (
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.gen import make_dict_structure_fn

from runner.errors import nearest
from runner.manifest import Json

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]
HookFactory = Callable[[Any], Hook]

HALF_A_LETTER = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""A surrogate. A pair is one letter; one alone is none, and cannot be written again."""
MAX_DEPTH = 32
NOTHING_LEFT_OUT: frozenset[str] = frozenset()
type_names = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


class InvalidDocumentError(ValueError):
    """Carry every problem that was found in a document, each as `path: what is wrong`."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def read_json(cls: type[T], text: str | bytes) -> T:
    """Build a `cls` from JSON text. Raises InvalidDocumentError."""
    return structure(cls, _parse_json(text))


def read_toml(cls: type[T], text: str) -> T:
    """Build a `cls` from TOML text. Raises InvalidDocumentError."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError([f"not TOML: {error}"]) from None
    return structure(cls, data)


def read_versioned(cls: type[T], text: str | bytes, schema: str, *, without: frozenset[str] = NOTHING_LEFT_OUT) -> T:
    """Build a `cls` from JSON text that names its `schema` as "major.minor".

    Lists by the names `without` are let go as they are read, and found empty: what is held at once stays small.

    Another major is refused. A newer minor is read, and the keys that this version does not know are passed over:
    a minor may add, never change.
    Raises InvalidDocumentError.
    """
    data = _parse_json(text, without)
    found = data.get("schema") if isinstance(data, dict) else None
    numbers = re.fullmatch(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", found, re.ASCII) if isinstance(found, str) else None
    if numbers is None:
        raise InvalidDocumentError([f"schema: expected a version such as {schema!r}, got {_shown(found)}"])
    major, minor = (int(number) for number in schema.split("."))
    if int(numbers[1]) != major:
        advice = "update edgepack" if int(numbers[1]) > major else "make it again with this version"
        raise InvalidDocumentError([f"schema: version {found} cannot be read here, only {major}.x; {advice}"])
    return structure(cls, data, unknown_keys=int(numbers[2]) > minor)


def structure(cls: type[T], data: object, *, unknown_keys: bool = False) -> T:
    """Build a `cls` from plain lists, mappings and scalars. Raises InvalidDocumentError with every problem."""
    try:
        return _converter(unknown_keys).structure(data, cls)
    except RecursionError:
        raise InvalidDocumentError(["nested too deeply"]) from None
    except Exception as error:  # noqa: BLE001 - cattrs raises groups of whatever the hooks raise; all become problems here
        raise InvalidDocumentError(_problems(error, "")) from None


def write_json(value: object, *, indent: int | None = None) -> str:
    """Return `value` as JSON text, keys in the order of the fields, ending in a newline."""
    separators = None if indent else (",", ":")
    data = _converter().unstructure(value)
    return json.dumps(data, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False) + "\n"


def unstructure(value: object) -> Any:  # noqa: ANN401 - the one border between typed values and plain data
    """Return `value` as plain lists, mappings and scalars."""
    return _converter().unstructure(value)


def digest(value: object) -> str:
    """Return the SHA-256 of `value` as canonical JSON: equal values have equal digests."""
    text = json.dumps(unstructure(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def keys(text: str | bytes) -> frozenset[str] | None:
    """Return the keys of a JSON object; another JSON text has none, and None is what is no JSON."""
    try:
        data = _parse_json(text)
    except InvalidDocumentError:
        return None
    return frozenset(data) if isinstance(data, dict) else frozenset()


def sealed_digest(text: str | bytes, key: str) -> str:
    """Return the digest of a JSON object whose `key`, which holds it, is blank.

    Of the text itself: a document of an older or newer minor has other keys than this version's types.
    Raises InvalidDocumentError.
    """
    data = _parse_json(text)
    return digest({**data, key: ""} if isinstance(data, dict) else data)


def _parse_json(text: str | bytes, without: frozenset[str] = NOTHING_LEFT_OUT) -> object:
    def emptied(table: dict[str, object]) -> dict[str, object]:
        return {key: [] if key in without and isinstance(each, list) else each for key, each in table.items()}

    try:
        whole = text.decode() if isinstance(text, bytes) else text
        data: object = json.loads(
            whole,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_hook=emptied if without else None,
        )
        if HALF_A_LETTER.search(whole):
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError([f"not JSON: {error}"]) from None
    return data


@functools.cache
def _converter(unknown_keys: bool = False) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=not unknown_keys)
    for kind in (str, int, bool):
        converter.register_structure_hook(kind, _scalar)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(_is_a(Literal), _choice)
    converter.register_structure_hook_factory(dataclasses.is_dataclass, _table_hook(converter, unknown_keys))
    converter.register_structure_hook_factory(_is_a(tuple), _list_hook(converter))
    converter.register_structure_hook_factory(_is_a(dict), _mapping_hook(converter))
    converter.register_structure_hook_func(lambda kind: kind == tuple[int, ...], _integers)
    converter.register_structure_hook_func(lambda kind: bool(kind == Json), _unread)
    converter.register_unstructure_hook_func(lambda kind: kind in (tuple[int, ...], tuple[float, ...]), list)
    return converter


def _is_a(origin: object) -> Callable[[object], bool]:
    return lambda kind: bool(get_origin(kind) is origin)


def _table_hook(converter: cattrs.Converter, unknown_keys: bool) -> HookFactory:
    def factory(cls: type[T]) -> Hook:
        hook = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=not unknown_keys)
        return lambda value, kind: hook(_expect(dict, value, "a table of keys"), kind)

    return factory


def _list_hook(converter: cattrs.Converter) -> HookFactory:
    def factory(kind: Any) -> Hook:  # noqa: ANN401 - a generic alias has no type of its own
        items: Any = list.__class_getitem__(get_args(kind)[0])
        return lambda value, _: tuple(converter.structure(_expect(list, value, "a list"), items))

    return factory


def _mapping_hook(converter: cattrs.Converter) -> HookFactory:
    def factory(kind: Any) -> Hook:  # noqa: ANN401 - a generic alias has no type of its own
        hook = mapping_structure_factory(kind, converter)
        return lambda value, _: hook(_expect(dict, value, "a table of keys"), kind)

    return factory


def _expect(kind: type[T], value: object, name: str) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"expected {name}, got {_shown(value)}")
    return value


def _scalar(value: object, kind: type[T]) -> T:
    # `type() is`, for True is an int to isinstance, and cattrs alone would turn "5" into 5.
    if type(value) is not kind:
        raise TypeError(f"expected {type_names[kind]}, got {_shown(value)}")
    return value


def _number(value: object, _: type[float]) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"expected a number, got {_shown(value)}")
    if not abs(value) <= sys.float_info.max:
        raise ValueError(f"expected a finite number, got {_shown(value)}")
    # Nothing is rounded unheard: an integer beyond 2^53 may lie between two floats.
    if (found := float(value)) != value and isinstance(value, int):
        raise ValueError(f"expected a number that 64 bits hold, got {_shown(value)}")
    return found


def _choice(value: object, kind: Any) -> object:  # noqa: ANN401 - a Literal form has no type of its own
    choices = get_args(kind)
    if value not in choices:
        hint = nearest(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
        expected = ", ".join(repr(c) for c in choices)
        raise ValueError(f"expected one of {expected}, got {_shown(value)}" + (f"; {hint}" if hint else ""))
    return value


def _integers(value: object, _: object) -> tuple[int, ...]:
    # Reports hold millions of raw samples: one pass here is fifty times as fast as a hook per element.
    if not isinstance(value, list) or any(type(item) is not int for item in value):
        raise TypeError("expected a list of integers")
    return tuple(value)


def _unread(value: object, _: object, depth: int = 0) -> object:
    """Pass plain data through that somebody else will read, if it can be written again."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        _unread(item, _, depth + 1)
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _problems(error: BaseException, path: str) -> Iterator[str]:
    """Walk cattrs' tree of errors and yield `path: message` for each leaf."""
    match error:
        case ClassValidationError():
            for inner, note in error.group_exceptions()[0]:
                yield from _problems(inner, _join(path, note.name))
            for inner in error.group_exceptions()[1]:
                yield from _problems(inner, path)
        case IterableValidationError():
            for inner, item in error.group_exceptions()[0]:
                yield from _problems(inner, f"{path}[{item.index}]")
            for inner in error.group_exceptions()[1]:
                yield from _problems(inner, path)
        case ForbiddenExtraKeysError():
            known = [field.name for field in dataclasses.fields(error.cl)]
            for key in sorted(error.extra_fields, key=str):
                hint = nearest(str(key), known) or f"known keys: {', '.join(known)}"
                yield f"{_join(path, key)}: unknown key; {hint}"
        case KeyError():
            yield f"{path}: missing"
        case _:
            yield f"{path or 'document'}: {error}"


def _join(path: str, key: object) -> str:
    name = str(key) if str(key).isprintable() else repr(key)
    return f"{path}.{name}" if path else name


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is beyond what a number can hold")
    return number
