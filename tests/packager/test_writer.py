"""Bundles have the same bytes each time, stand on their own, and appear under their name only when they are whole."""

import ast
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cattrs
import numpy as np
import pytest
from numpy.typing import NDArray

import runner
from packager import writer
from packager.writer import Content
from runner import report
from runner.bundle import HOST_REPORT, INPUTS, LABELS, MANIFEST, REFERENCE, Bundle, open_bundle
from runner.errors import StepError
from runner.report import Report
from runner.runtimes import KNOWN
from tests import bundles, disk, reports

LOGITS = np.arange(12, dtype=np.float32).reshape(4, 3)
ARTIFACT = "artifacts/fp32.onnx"
ADVICE = "another folder with -o, or free some space"


def write(path: Path) -> Bundle:
    """Write a small bundle."""
    logits = {"reference": LOGITS, "fp32.onnx": LOGITS}
    labels = np.array([0, 1, 2, 0])
    return bundles.write_bundle(path, {"fp32.onnx": b"model"}, (bundles.artifact(),), logits=logits, labels=labels)


def host_report(bundle: Bundle) -> Report:
    """Return a report of the bundle."""
    return report.seal(replace(reports.host(), bundle_id=bundle.id))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a host report."""
    found = write(tmp_path_factory.mktemp("bundle") / "net.edgepack")
    writer.add_host_report(found.path, host_report(found))
    return open_bundle(found.path)


# The bytes


def test_equal_inputs_give_equal_bytes(bundle: Bundle, tmp_path: Path) -> None:
    other = write(tmp_path / "other.edgepack")
    assert other.id == bundle.id
    writer.add_host_report(other.path, host_report(other))
    assert other.path.read_bytes() == bundle.path.read_bytes()


def test_a_file_and_its_bytes_make_the_same_bundle(bundle: Bundle, tmp_path: Path) -> None:
    contents = []
    for name in (ARTIFACT, INPUTS, LABELS, REFERENCE):
        file = tmp_path / Path(name).name
        file.write_bytes(bundle.read(name))
        os.utime(file, (0, 0))
        file.chmod(0o600)
        contents.append(Content(path=name, source=file))
    path = tmp_path / "net.edgepack"
    writer.write(path, replace(bundle.manifest, entries=()), tuple(contents))
    whole = bundle.path.read_bytes()
    start = bundle.ranges[HOST_REPORT].start
    assert path.read_bytes()[:start] == whole[:start]
    assert open_bundle(path).id == bundle.id


def test_the_host_report_changes_nothing_before_it(bundle: Bundle, tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.edgepack")
    assert bare.host_report() is None
    start = bundle.ranges[HOST_REPORT].start
    assert bare.path.read_bytes()[:start] == bundle.path.read_bytes()[:start]
    assert bundle.host_report() == host_report(bundle)


def test_entries_are_stored_in_a_fixed_order_with_fixed_times_and_modes(bundle: Bundle) -> None:
    with zipfile.ZipFile(bundle.path) as found:
        assert found.testzip() is None
        infos = found.infolist()
    names = [info.filename for info in infos]
    ours = names.index(MANIFEST)
    assert names[0] == "__main__.py"
    assert names[1:ours] == sorted(names[1:ours])
    assert names[ours:] == [MANIFEST, ARTIFACT, INPUTS, LABELS, REFERENCE, HOST_REPORT]
    facts = {(info.compress_type, info.date_time, info.external_attr, info.create_system, info.extra) for info in infos}
    assert facts == {(zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 0o100644 << 16, 3, b"")}


def test_the_manifest_lists_every_entry_but_itself_and_the_host_report(bundle: Bundle) -> None:
    with zipfile.ZipFile(bundle.path) as found:
        expected = [
            (info.filename, info.file_size, hashlib.sha256(found.read(info)).hexdigest())
            for info in found.infolist()
            if info.filename not in (MANIFEST, HOST_REPORT)
        ]
        assert bundle.id == hashlib.sha256(found.read(MANIFEST)).hexdigest()
    assert [(entry.path, entry.size_bytes, entry.sha256) for entry in bundle.manifest.entries] == expected


def test_arrays_are_written_as_numpy_reads_them() -> None:
    arrays: dict[str, NDArray[np.generic]] = {"a": LOGITS, "b": np.array([1, 2], np.int64)}
    content = writer.arrays_bytes(arrays)
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        assert {name: (found[name].dtype, found[name].tolist()) for name in found.files} == {
            "a": (np.dtype(np.float32), LOGITS.tolist()),
            "b": (np.dtype(np.int64), [1, 2]),
        }
    assert writer.arrays_bytes(arrays) == content


def test_an_array_in_another_order_in_memory_is_written_in_the_one_that_is_read() -> None:
    content = writer.array_bytes(np.asfortranarray(LOGITS))
    assert content == writer.array_bytes(LOGITS)
    assert np.load(io.BytesIO(content)).tolist() == LOGITS.tolist()


# Failures


def left(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_draft_takes_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "net.edgepack"
    with writer.draft(path) as draft:
        draft.write_bytes(b"whole")
        assert draft.parent == path.parent
        assert not path.exists()
    assert left(path.parent) == {"net.edgepack": b"whole"}


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), StepError("refused")])
def test_a_draft_that_fails_leaves_nothing_and_what_was_there_before(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "net.edgepack"

    def fail() -> None:
        with writer.draft(path) as draft:
            draft.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert left(tmp_path) == {}
    path.write_bytes(b"older")
    with pytest.raises(type(error)):
        fail()
    assert left(tmp_path) == {"net.edgepack": b"older"}


def test_a_full_disk_is_told_and_an_older_bundle_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "net.edgepack"
    path.write_bytes(b"older")

    def fill() -> None:
        with writer.draft(path) as draft, disk.small(300_000):
            write(draft)

    with pytest.raises(StepError) as caught:
        fill()
    assert caught.value.what == "cannot be written: File too large"
    assert caught.value.advice == ADVICE
    assert left(tmp_path) == {"net.edgepack": b"older"}


def test_a_disk_without_space_is_told_by_its_own_words(bundle: Bundle) -> None:
    contents = tuple(Content(path=name, source=bundle.read(name)) for name in (ARTIFACT, INPUTS, LABELS, REFERENCE))
    with pytest.raises(StepError) as caught:
        writer.write(Path("/dev/full"), replace(bundle.manifest, entries=()), contents)
    assert str(caught.value) == f"/dev/full: cannot be written: No space left on device\n  try: {ADVICE}"


def test_a_disk_that_is_full_by_the_time_of_the_host_report_is_told(tmp_path: Path) -> None:
    found = write(tmp_path / "net.edgepack")
    with disk.small(found.size_bytes + 100), pytest.raises(StepError) as caught:
        writer.add_host_report(found.path, host_report(found))
    assert str(caught.value) == f"{found.path}: cannot be written: File too large\n  try: {ADVICE}"


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.edgepack"
    with disk.read_only(tmp_path), pytest.raises(StepError) as caught, writer.draft(path):
        pytest.fail("there is nothing to write into")
    assert str(caught.value) == f"{path}: cannot be written: Permission denied\n  try: {ADVICE}"
    assert left(tmp_path) == {}


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "net.edgepack"
    with pytest.raises(StepError) as caught, writer.draft(path):
        pytest.fail("there is nothing to write into")
    assert str(caught.value) == f"{path}: cannot be written: File exists\n  try: {ADVICE}"


def test_what_is_too_large_for_a_bundle_is_told_before_it_is_read(bundle: Bundle, tmp_path: Path) -> None:
    huge = tmp_path / "inputs.npy"
    with huge.open("wb") as file:
        file.truncate(4 << 30)
    path = tmp_path / "net.edgepack"
    with pytest.raises(StepError) as caught:
        writer.write(path, bundle.manifest, (Content(path=INPUTS, source=huge),))
    assert caught.value.what.endswith(" bytes, and those of a bundle have at most 4,026,531,838")
    assert caught.value.advice.startswith("fewer evaluation samples with --eval-samples")
    assert not path.exists()


# What travels along


def test_a_bundle_holds_the_runner_what_it_imports_and_their_licences(bundle: Bundle) -> None:
    names = set(bundle.ranges)
    root = Path(runner.__file__).parent
    ours = {f"runner/{path.relative_to(root).as_posix()}" for path in root.rglob("*.py")}
    assert ours == {name for name in names if name.startswith("runner/")}
    assert {
        "click/core.py",
        "cattrs/converters.py",
        "attr/_make.py",
        "attrs/__init__.py",
        "typing_extensions.py",
    } <= names
    owners = {name.split("/")[1] for name in names if name.startswith("licences/")}
    assert owners == {"attrs", "cattrs", "click", "edgepack", "typing_extensions"}
    for name in names:
        if name.startswith("licences/"):
            assert b"Copyright" in bundle.read(name) or b"PYTHON SOFTWARE FOUNDATION" in bundle.read(name)


def test_a_bundle_holds_no_compiled_code(bundle: Bundle) -> None:
    code = [name for name in bundle.ranges if not name.startswith(("artifacts/", "eval/", "licences/"))]
    assert {Path(name).suffix for name in code} == {".py", ".json"}
    assert not any("__pycache__" in name for name in bundle.ranges)


def test_what_the_runner_needs_and_nobody_can_list_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(writer, "VENDORED", ("no-such-package",))
    with pytest.raises(StepError) as caught:
        write(tmp_path / "net.edgepack")
    assert str(caught.value) == (
        "the runner in a bundle needs no-such-package, and its installation here does not say which files it has"
        "\n  try: pip install --force-reinstall no-such-package"
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which numpy alone is installed."""
    folder = tmp_path_factory.mktemp("bare")
    (numpy,) = np.__path__
    for name in ("numpy", "numpy.libs"):
        source = Path(numpy).with_name(name)
        if source.exists():
            (folder / name).symlink_to(source)
    return folder


def start(arguments: list[str], folder: Path, path: Path | None) -> subprocess.CompletedProcess[str]:
    """Start Python in `folder` without its own packages, but with those in `path`."""
    environment = {"PYTHONPATH": str(path)} if path else {}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_bundle_starts_where_there_is_only_python_and_numpy(bundle: Bundle, bare: Path, tmp_path: Path) -> None:
    found = start([str(bundle.path), "--help"], tmp_path, bare)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("Usage: python3 ")
    assert "Measure what is in a bundle" in found.stdout
    verified = start([str(bundle.path), "verify"], tmp_path, bare)
    assert (verified.returncode, verified.stderr) == (0, "")
    expected = f"every hash fits: {len(bundle.manifest.entries)} entries, 1 artifacts, bundle {bundle.id}\n"
    assert verified.stdout == f"{bundle.path}: {expected}"


def test_a_bundle_runs_its_own_code(bundle: Bundle, bare: Path, tmp_path: Path) -> None:
    names = ["runner.commands", "runner.codec", "runner.measure", "click", "cattrs", "attrs", "typing_extensions"]
    program = (
        "import importlib, sys; sys.path.insert(0, sys.argv[1]); "
        "print(*(importlib.import_module(name).__file__ for name in sys.argv[2:]), sep='\\n')"
    )
    found = start(["-c", program, str(bundle.path), *names], tmp_path, bare)
    assert found.stderr == ""
    assert all(line.startswith(f"{bundle.path}/") for line in found.stdout.splitlines())
    assert len(found.stdout.splitlines()) == len(names)
    assert not str(cattrs.__file__).startswith(str(bundle.path))


INSTALLS = f"{sys.executable} -m venv ~/.edgepack && ~/.edgepack/bin/pip install numpy"
"""A Python without its packages has no pip either."""


def test_without_numpy_a_bundle_tells_what_the_machine_is(bundle: Bundle, tmp_path: Path) -> None:
    helped = start([str(bundle.path), "--help"], tmp_path, None)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert helped.stdout.startswith("Usage: python3 ")
    found = start([str(bundle.path), "device", "--json"], tmp_path, None)
    assert (found.returncode, found.stderr) == (0, "")
    facts = json.loads(found.stdout)["facts"]
    assert facts["machine"] == platform.machine()
    assert [(runtime["package"], runtime["version"]) for runtime in facts["runtimes"]] == [
        (known.package, None) for known in KNOWN.values()
    ]
    page = start([str(bundle.path), "device"], tmp_path, None)
    assert (page.returncode, page.stderr) == (0, "")
    assert "onnxruntime not installed" in page.stdout


@pytest.mark.parametrize(
    ("arguments", "packages"),
    [
        ([], "numpy onnxruntime"),
        (["verify"], "numpy"),
        (["compare", "a.json", "b.json"], "numpy"),
        (["ab", "a.edgepack", "b.edgepack"], "numpy onnxruntime"),
        (["selftest", "a.edgepack"], "numpy onnxruntime"),
    ],
)
def test_a_machine_without_numpy_is_told_what_to_install(
    arguments: list[str], packages: str, bundle: Bundle, tmp_path: Path
) -> None:
    found = start([str(bundle.path), *arguments], tmp_path, None)
    assert (found.returncode, found.stdout) == (4, "")
    assert found.stderr == (
        "error: numpy is not installed here\n"
        f"  try: {INSTALLS.removesuffix('numpy')}{packages}, and from then on ~/.edgepack/bin/python\n"
    )


def test_a_numpy_that_cannot_be_imported_is_told_with_its_reason(bundle: Bundle, tmp_path: Path) -> None:
    broken = tmp_path / "packages" / "numpy"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libopenblas.so.0: cannot open shared object file')\n")
    found = start([str(bundle.path), "verify"], tmp_path, broken.parent)
    assert found.returncode == 4
    assert found.stderr.startswith(
        "error: numpy cannot be imported here: ImportError: libopenblas.so.0: cannot open shared object file\n  try: "
    )


def run_starter(
    version: tuple[int, int, int], bits: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Run the starter as another Python would, and return the exit code and what it told."""
    code = compile(writer.STARTER, "__main__.py", "exec")
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(sys, "maxsize", 2 ** (bits - 1) - 1)
    with pytest.raises(SystemExit) as caught:
        exec(code, {"__name__": "__main__"})
    return caught.value.code, capsys.readouterr().err


NEWER = "  try: a newer system (Raspberry Pi OS 12, Debian 12, Ubuntu 24.04), or without root: uv python install 3.12\n"


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13)])
def test_an_older_python_is_told_which_one_is_needed(
    version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    major, minor, _ = version
    assert run_starter(version, 64, monkeypatch, capsys) == (
        4,
        f"This bundle needs Python 3.11 or newer, and this is {major}.{minor}.\n{NEWER}",
    )


def test_an_older_python_of_32_bits_is_told_that_a_newer_one_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_starter((3, 9, 2), 32, monkeypatch, capsys) == (
        4,
        f"This bundle needs Python 3.11 or newer, and this is 3.9.\n{NEWER}"
        "This Python is of 32 bits, too, and the runtimes have no wheels for that, whatever its version.\n"
        "  try: a 64-bit system, which a Raspberry Pi 3 or later can run\n",
    )


def test_an_older_python_can_read_the_starter() -> None:
    ast.parse(writer.STARTER, feature_version=(3, 4))
    # What Python 2 has no grammar for, and 3.4 has: print as a function of a file, and annotations.
    nodes = list(ast.walk(ast.parse(writer.STARTER)))
    assert not [node for node in nodes if isinstance(node, ast.JoinedStr | ast.AnnAssign)]
    assert not [node for node in nodes if isinstance(node, ast.Name) and node.id == "print"]
    assert writer.STARTER.isascii()


def test_the_versions_that_travel_along_are_those_that_are_installed(bundle: Bundle) -> None:
    found = next(path for path in importlib.metadata.files("click") or () if str(path) == "click/core.py")
    assert bundle.read("click/core.py") == Path(str(found.locate())).read_bytes()
