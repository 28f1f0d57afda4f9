"""The catalogue of targets: one TOML file each, by name, or a file of the user's own."""

from collections.abc import Iterator
from pathlib import Path

from runner import toml_file
from runner.errors import UsageError, nearest
from runner.manifest import Target

CATALOGUE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Return the names of the targets that come with edgepack."""
    return tuple(sorted(path.stem for path in CATALOGUE.glob("*.toml")))


def load(name: str) -> Target:
    """Return the target of that name, or the one that a .toml file describes. Raises UsageError."""
    if name in names():
        return _read(CATALOGUE / f"{name}.toml")
    if name.endswith(".toml"):
        return _read(Path(name))
    hint = nearest(name, names()) or f"there are {', '.join(names())}, or a .toml file of your own"
    raise UsageError(f"there is no target {name!r}; {hint}", where="--target", advice="pack targets")


def _read(path: Path) -> Target:
    target = toml_file.read(Target, path, advice="start from one that `pack targets` lists")
    problems = list(_contradictions(target))
    if problems:
        raise UsageError("\n".join(problems), where=str(path))
    return target


def _contradictions(target: Target) -> Iterator[str]:
    """Yield what no machine could be: told before a minute is spent on it."""
    kinds = [(artifact.precision, artifact.format) for artifact in target.artifacts]
    name = target.name
    if not name or name.startswith(".") or not name.isprintable() or set(name) & set("/\\:"):
        yield f"name: {name!r} cannot be part of a file's name"
    if ("fp32", "onnx") not in kinds:
        yield "artifacts: fp32 onnx is missing, and the others are compared with it"
    if len(set(kinds)) < len(kinds):
        yield "artifacts: one is listed twice"
    if ("int8", "torchscript") in kinds and target.engine is None:
        yield "engine: missing, and int8 torchscript is made for one: 'x86', 'onednn', 'fbgemm' or 'qnnpack'"
    if target.device == "cuda" and "int8" in {precision for precision, _ in kinds}:
        yield "artifacts: int8 has no fast kernels on CUDA in these formats; use fp16"
    if target.machine == "x86_64" and target.activation_type == "int8" and ("int8", "onnx") in kinds:
        yield "activation_type: 'int8' is slow on x86, where only uint8 activations have fast kernels; use 'uint8'"
    if target.machine == "aarch64" and target.engine in ("x86", "fbgemm"):
        yield f"engine: {target.engine!r} does not exist on aarch64; use 'qnnpack'"
