"""The design's arrows, held by walking the code: who imports whom, who prints, and what a start-up loads."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("runner", "targets", "models", "packager")
FILES = {
    path.relative_to(ROOT).as_posix(): path for package in PACKAGES for path in sorted(ROOT.glob(f"{package}/**/*.py"))
}
HEAVY = {"torch", "torchvision", "onnx", "onnxruntime", "openvino", "nncf"}


def module_name(file: str) -> str:
    """Return the name under which a file is imported."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_name(file): file for file in FILES}


@functools.cache
def tree(file: str) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(FILES[file].read_text(encoding="utf-8"), file)


def imported(file: str) -> Iterator[str]:
    """Yield what a file imports, wherever in it: modules by their full names, and what else is taken from them."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(file: str) -> set[str]:
    """Return the modules of ours that a file imports."""
    names = {name if name in MODULES else name.rpartition(".")[0] for name in imported(file)}
    return names & set(MODULES)


def run_by(file: str) -> set[str]:
    """Return the modules whose code an import of this file runs: with a module come the packages that it lies in."""
    inside = module_name(file).split(".")
    own = {".".join(inside[:length]) for length in range(1, len(inside) + 1)}
    whole = {name.rsplit(".", depth)[0] for name in ours(file) for depth in range(name.count(".") + 1)}
    return (whole | ours(file)) - own


def package(name: str) -> str:
    """Return the outermost package of a module."""
    return name.partition(".")[0]


def test_there_is_something_to_walk() -> None:
    assert {"runner.cli", "packager.cli", "targets", "models", "runner.runtimes.onnx"} <= set(MODULES)
    assert ours("runner/bundle.py") >= {"runner.archive", "runner.codec", "runner.errors"}


@pytest.mark.parametrize(
    ("importer", "allowed"),
    [
        ("runner", {"runner"}),
        ("models", {"models"}),
        ("targets", {"targets", "runner"}),
        ("packager", {"packager", "targets", "models", "runner"}),
    ],
)
def test_packages_import_only_those_that_the_design_lets_them(importer: str, allowed: set[str]) -> None:
    found = {
        (file, name)
        for file in FILES
        if package(module_name(file)) == importer
        for name in ours(file)
        if package(name) not in allowed
    }
    assert found == set()


def test_targets_know_of_the_runner_only_the_documents_and_how_they_are_read() -> None:
    found = {name for file in FILES if file.startswith("targets/") for name in ours(file)}
    assert {name for name in found if package(name) == "runner"} == {
        "runner.manifest",
        "runner.toml_file",  # which names the file that is wrong, of a target or of anything else
        "runner.errors",
    }


def test_no_modules_import_each_other_in_a_circle() -> None:
    # Also where an import stands in a function, which would only hide it.
    sorter = graphlib.TopologicalSorter({module_name(file): run_by(file) for file in FILES})
    order = list(sorter.static_order())
    assert order.index("runner.errors") < order.index("runner.codec") < order.index("runner.cli")


def test_the_runner_imports_of_others_only_what_a_bundle_carries_or_a_device_has() -> None:
    # A bundle brings click and cattrs; numpy and one of the runtimes are the device's own, and psutil if there is one.
    found = {
        (package(name), file)
        for file in FILES
        if file.startswith("runner/")
        for name in imported(file)
        if package(name) not in {"runner", *sys.stdlib_module_names}
    }
    assert {name for name, _ in found} == {
        "numpy",
        "click",
        "cattrs",
        "psutil",
        "PIL",
        "onnxruntime",
        "torch",
        "ai_edge_litert",
        "openvino",
    }
    assert {file for name, file in found if name == "psutil"} == {
        "runner/device/others.py",
        "runner/device/portable.py",
    }
    assert {file for name, file in found if name == "PIL"} == {"runner/images.py"}
    assert {file for name, file in found if name == "onnxruntime"} == {"runner/runtimes/onnx.py"}
    assert {file for name, file in found if name == "ai_edge_litert"} == {"runner/runtimes/litert.py"}
    assert {file for name, file in found if name == "openvino"} == {"runner/runtimes/openvino.py"}
    assert {file for name, file in found if name == "torch"} == {
        "runner/runtimes/torchscript.py",
        "runner/runtimes/executorch.py",  # whose tensors are PyTorch's
        "runner/runtimes/aotinductor.py",
    }
    assert {file for name, file in found if name == "cattrs"} == {"runner/codec.py"}


# What unpickles, prints or exits


def calls(file: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call of a file with the name of what is called, as it is written."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_imports_what_unpickles() -> None:
    unpicklers = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert {(file, name) for file in FILES for name in imported(file) if package(name) in unpicklers} == set()


def test_every_load_that_could_unpickle_is_told_not_to() -> None:
    safe = {
        "np.load": ("allow_pickle", False),
        "numpy.load": ("allow_pickle", False),
        "torch.load": ("weights_only", True),
    }
    found = {}
    for file in FILES:
        for name, call in calls(file):
            if name in safe:
                key, value = safe[name]
                given = {it.arg: it.value.value for it in call.keywords if isinstance(it.value, ast.Constant)}
                found[file, name, call.lineno] = given.get(key) is value
    assert {name for _, name, _ in found} >= {"np.load", "torch.load"}
    assert [place for place, is_safe in found.items() if not is_safe] == []


def uses(pattern: str) -> dict[str, set[str]]:
    """Return, by file, the calls, attributes and raised classes whose text is like the pattern."""
    found: dict[str, set[str]] = {}
    for file in FILES:
        texts = {name for name, _ in calls(file)}
        texts |= {ast.unparse(node) for node in ast.walk(tree(file)) if isinstance(node, ast.Attribute)}
        texts |= {ast.unparse(node.exc) for node in ast.walk(tree(file)) if isinstance(node, ast.Raise) and node.exc}
        if matching := {text for text in texts if re.fullmatch(pattern, text)}:
            found[file] = matching
    return found


def test_only_the_command_lines_print() -> None:
    printing = r"print|input|click\.(echo|secho|confirm|prompt)|(pp|pprint)\.\w+|logging\.(?!disable|root|CRITICAL)\w+"
    assert uses(printing) == {
        "runner/cli.py": {"click.echo"},
        "packager/cli.py": {"click.echo"},
        "packager/remote/cli.py": {"click.echo"},
        # Lies in every bundle, for others to start: a program, which nothing of ours imports.
        "packager/example.py": {"print"},
    }


def test_only_the_command_lines_exit() -> None:
    exiting = r"sys\.exit|os\._exit|exit|quit|SystemExit(\(.*\))?|os\.abort|os\.kill"
    assert uses(exiting) == {
        "runner/cli.py": {"sys.exit"},
        "packager/cli.py": {"sys.exit"},
        # A process of its own, which nobody is left to tell anything when its parent is gone.
        "runner/worker/__init__.py": {"sys.exit"},
        # A forked child, which must not run its parent's clean-up.
        "packager/remote/agent/janitor.py": {"os._exit"},
    }


def test_only_the_edge_knows_the_streams() -> None:
    assert uses(r"sys\.(__)?(stdout|stderr)(__)?") == {
        "runner/cli.py": {"sys.stdout", "sys.stderr"},
        "packager/cli.py": {"sys.stderr"},
        "packager/remote/cli.py": {"sys.stdout", "sys.stderr"},
        # The last lines of the two command lines, which they have in common: errors are told there.
        "runner/edge.py": {"sys.stdout", "sys.stderr"},
        # What a user's network and torchvision print is led away from stdout, where the answer stands.
        "packager/model.py": {"sys.stderr"},
        "packager/data/torchvision.py": {"sys.stderr"},
        # What libraries in C++ write is led away too, after what Python has written.
        "packager/quiet.py": {"sys.__stderr__", "sys.__stdout__"},
    }


def test_a_stream_that_is_given_is_written_to_by_what_shows_progress_alone() -> None:
    streams = uses(r"(self\._stream|stream|sys\.std\w+|stdout|stderr)\.write(lines)?")
    assert streams == {
        "runner/edge.py": {"sys.stderr.write"},
        "runner/terminal.py": {"self._stream.write"},
        "runner/progress_lines.py": {"self._stream.write"},
        # Not a terminal: the pipe to the process that started the worker.
        "runner/worker/__init__.py": {"stdout.write"},
    }


# What a start-up loads


def loaded(program: str) -> set[str]:
    """Return the packages that a program loads in a fresh process."""
    command = [sys.executable, "-X", "importtime", "-c", program]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    lines = [line for line in found.stderr.splitlines() if line.startswith("import time:")]
    names = {package(line.rpartition("|")[2].strip()) for line in lines}
    assert "runner" in names or "models" in names
    return names


@pytest.mark.parametrize(
    ("package", "arguments"), [("runner", ["--help"]), ("packager", ["--help"]), ("runner", ["--version"])]
)
def test_help_is_light(package: str, arguments: list[str]) -> None:
    program = f"import sys; from {package}.cli import main; sys.argv[1:] = {arguments!r}; main()"
    names = loaded(program)
    assert "click" in names
    assert names & {*HEAVY, "numpy", "cattrs", "PIL", "psutil"} == set()


@pytest.mark.parametrize(
    "name",
    [
        "runner.measure",
        "runner.worker",
        "runner.commands",
        "runner.device",
        "runner.compare",
        "runner.loading",
        "models",
        "targets",
        "packager.commands",
    ],
)
def test_runtimes_and_frameworks_are_loaded_late(name: str) -> None:
    assert loaded(f"import {name}, runner") & HEAVY == set()


def test_the_runner_alone_brings_nothing_before_something_is_loaded() -> None:
    names = loaded("import runner; runner.load")
    assert names & {*HEAVY, "numpy", "click", "cattrs", "PIL", "psutil"} == set()


def test_what_a_machine_is_can_be_shown_without_numpy() -> None:
    names = loaded("import runner.machine")
    assert "cattrs" in names
    assert names & {*HEAVY, "numpy", "psutil"} == set()


def brought(name: str) -> set[str]:
    """Return the modules that may be run where one is imported and used, itself among them."""
    found, fresh = set[str](), {name}
    while fresh:
        found |= fresh
        fresh = {it for each in fresh for it in run_by(MODULES[each])} - found
    return found


def test_what_loads_a_bundle_to_use_it_brings_nothing_that_measures() -> None:
    found = brought("runner.loading")
    assert found >= {"runner.bundle", "runner.logits", "runner.report", "runner.workers"}
    assert found & {"runner.measure", "runner.verify", "runner.compare", "runner.render"} == set()


def test_a_worker_never_loads_a_bundle_and_so_never_starts_another() -> None:
    found = brought("runner.worker")
    assert found >= {"runner.worker.order", "runner.runtimes"}
    assert found & {"runner.loading", "runner.workers", "runner.bundle"} == set()


def test_a_worker_starts_with_numpy_and_little_else() -> None:
    names = loaded("import runner.worker")
    assert "numpy" in names
    assert names & {*HEAVY, "cattrs", "click", "psutil"} == set()


def test_the_road_of_onnx_never_loads_torch() -> None:
    program = "from runner.runtimes import load_runtime; load_runtime('onnx')"
    names = loaded(program)
    assert "onnxruntime" in names
    assert names & {"torch", "torchvision", "onnx"} == set()
