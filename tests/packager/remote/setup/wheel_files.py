"""Wheels made by hand, as small as they can be."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
    code: str = "",
    headers: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel of one module, and return its path."""
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
    entries = {
        f"{name}/__init__.py": code or f'__version__ = "{version}"\n',
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as file:
        for entry, text in entries.items():
            file.writestr(entry, text)
        record = "".join(f"{entry},,\n" for entry in (*entries, f"{info}/RECORD"))
        file.writestr(f"{info}/RECORD", record)
    return path
