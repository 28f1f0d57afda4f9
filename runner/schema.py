"""The JSON Schema of a document, generated from the types that it is read as: `python -m runner.schema` writes it."""

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

from runner import atomic, report

Schema = Mapping[str, object]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCALARS: Mapping[object, str] = types.MappingProxyType(
    {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
)
FILE = Path("docs/report.schema.json")


def document_schema(cls: type, version: str) -> Schema:
    """Return the schema of a dataclass as a document of that version, its own dataclasses in `$defs`.

    It holds for every older minor version too, for a minor only adds keys, which are those with a default. A newer one
    has a schema of its own: unknown keys are refused here.
    """
    name = cls.__name__
    definitions = {each.__name__: _table(each) for each in _reached(cls)}
    table = definitions.pop(name)
    properties = {**_mapping(table["properties"]), "schema": _versions(version)}
    return {
        "$schema": DIALECT,
        "$id": f"urn:edgepack:{name.lower()}:{version}",
        "title": f"edgepack {name.lower()}, schema {version}",
        **table,
        "properties": properties,
        "required": ["schema", *_sequence(table["required"])],
        "$defs": dict(sorted(definitions.items())),
    }


def text(schema: Schema) -> str:
    """Return a schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the schema of reports to the file that is named, or to where it is kept."""
    path = Path(sys.argv[1]) if sys.argv[1:] else FILE
    atomic.write(path, text(document_schema(report.Report, report.SCHEMA)))


def _versions(newest: str) -> Schema:
    major, minor = newest.split(".")
    return {"enum": [f"{major}.{older}" for older in range(int(minor) + 1)]}


def _reached(cls: type) -> list[type]:
    """Return a dataclass and all that its fields lead to, each once."""
    found = [cls]
    for each in found:
        found += [inner for kind in _hints(each).values() for inner in _dataclasses(kind) if inner not in found]
    return list(dict.fromkeys(found))


def _dataclasses(kind: object) -> list[type]:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return [kind]
    return [inner for argument in get_args(kind) for inner in _dataclasses(argument)]


def _hints(cls: type) -> Mapping[str, object]:
    hints: Mapping[str, object] = typing.get_type_hints(cls)
    return {each.name: hints[each.name] for each in dataclasses.fields(cls)}


def _table(cls: type) -> dict[str, object]:
    """Return the schema of one dataclass."""
    described = field_docstrings(cls)
    properties = {}
    for name, kind in _hints(cls).items():
        properties[name] = {**_kind(kind), **({"description": described[name]} if name in described else {})}
    missing = dataclasses.MISSING
    required = [it.name for it in dataclasses.fields(cls) if it.default is missing and it.default_factory is missing]
    return {
        "description": _folded(cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _kind(kind: object) -> Schema:
    """Return the schema of a field's type. Raises TypeError for one that no document has."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in SCALARS:
        return {"type": SCALARS[kind]}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        return _union([_kind(each) for each in arguments])
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _kind(arguments[0])}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _kind(arguments[1])}
    raise TypeError(f"no schema of {kind}")


def _union(kinds: list[Schema]) -> Schema:
    """Return either of several; scalars as one list of types, which is how a person reads them most easily."""
    if all(set(each) == {"type"} for each in kinds):
        return {"type": [each["type"] for each in kinds]}
    return {"anyOf": kinds}


def field_docstrings(cls: type) -> dict[str, str]:
    """Return what stands under the fields of a class in its source, by their names."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    found, field = {}, ""
    for node in tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                field = name
            case ast.Expr(value=ast.Constant(value=str(words))) if field:
                found[field] = _folded(words)
            case _:
                field = ""
    return found


def _folded(words: str) -> str:
    """Return a docstring in one line, in the words of JSON."""
    return re.sub(r"\bNone\b", "null", " ".join(words.split()))


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value


def _sequence(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


if __name__ == "__main__":
    main()
