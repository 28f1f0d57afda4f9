"""A bundle is opened only if it is, byte for byte, what was packed; whatever else it is, is told in words."""

import contextlib
import dataclasses
import hashlib
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from packager import writer
from runner import archive, codec, report, report_reader
from runner.bundle import HOST_REPORT, INPUTS, LABELS, MANIFEST, REFERENCE, Bundle, open_bundle
from runner.errors import BundleError, ReportError
from runner.manifest import Entry, LeftOut, Manifest, Provenance
from tests import bundles, networks, reports

ARTIFACT = "artifacts/fp32.onnx"
MODEL = b"what the runtime is given"
INPUT_VALUES = networks.inputs(4)
LABEL_VALUES = np.array([0, 2, 1, 0])
LOGITS = np.arange(12, dtype=np.float32).reshape(4, 3)
FILES = {
    ARTIFACT: MODEL,
    INPUTS: writer.array_bytes(INPUT_VALUES),
    LABELS: writer.array_bytes(LABEL_VALUES),
    REFERENCE: writer.arrays_bytes({"reference": LOGITS, "fp32.onnx": LOGITS + 1}),
}
DAMAGED = "is not a bundle, or a damaged one"
COPY_AGAIN = "\n  try: copy or pack the bundle again"
END_BYTES = 22
CENTRAL_BYTES = 46


def manifest_of(files: Mapping[str, bytes]) -> Manifest:
    """Return a manifest that lists `files` truly."""
    return Manifest(
        name="net",
        target=bundles.TARGET,
        preprocess=networks.PREPROCESS,
        classes=("a", "b", "c"),
        samples=4,
        artifacts=(dataclasses.replace(bundles.artifact(), path=ARTIFACT),),
        provenance=Provenance(
            edgepack="0.1.0",
            git_commit=None,
            git_dirty=None,
            python="3.11",
            platform="Linux",
            versions={},
            seed=0,
            data_sha256="0" * 64,
            recipe={"seed": 0, "train": {"epochs": 2}},
        ),
        entries=tuple(
            Entry(path=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for name, data in files.items()
        ),
    )


def manifest_text(files: Mapping[str, bytes]) -> bytes:
    """Return a manifest that lists `files` truly, as it stands in a bundle."""
    return codec.write_json(manifest_of(files), indent=2).encode()


def zipped(entries: Iterable[tuple[str, bytes]], alter: Callable[[zipfile.ZipInfo], None] = lambda _: None) -> bytes:
    """Return a ZIP file of stored entries as the writer makes it, by another hand; `alter` changes what it says."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            alter(info)
            target.writestr(info, data)
    return file.getvalue()


def packed(files: Mapping[str, bytes], manifest: bytes | None = None) -> bytes:
    """Return a small bundle without the runner in it: these files, and a manifest that lists them truly."""
    return zipped([(MANIFEST, manifest_text(files) if manifest is None else manifest), *files.items()])


WHOLE = packed(FILES)


def opened(folder: Path, data: bytes) -> Bundle:
    """Open a bundle of these bytes."""
    path = folder / "net.edgepack"
    path.write_bytes(data)
    return open_bundle(path)


def refusal(folder: Path, data: bytes) -> str:
    """Return why a bundle of these bytes is refused, without its path."""
    with pytest.raises(BundleError) as caught:
        opened(folder, data)
    place = f"{folder / 'net.edgepack'}: "
    assert str(caught.value).startswith(place)
    return str(caught.value).removeprefix(place)


def record_at(data: bytes, name: str) -> int:
    """Return where the directory's record of an entry begins."""
    return data.rindex(name.encode()) - CENTRAL_BYTES


def patched(data: bytes, at: int, form: str, value: int) -> bytes:
    """Return `data` with another number at a place."""
    new = struct.pack(form, value)
    return data[:at] + new + data[at + len(new) :]


# What opens


def test_a_whole_bundle_gives_back_what_was_packed(tmp_path: Path) -> None:
    bundle = opened(tmp_path, WHOLE)
    assert bundle.id == hashlib.sha256(manifest_text(FILES)).hexdigest()
    assert bundle.size_bytes == len(WHOLE)
    assert bundle.manifest == manifest_of(FILES)
    assert set(bundle.ranges) == {MANIFEST, *FILES}
    assert {name: bundle.read(name) for name in FILES} == FILES
    assert bundle.host_report() is None
    found = bundle.reference()
    assert list(found) == ["reference", "fp32.onnx"]
    assert (found["reference"].tolist(), found["fp32.onnx"].tolist()) == (LOGITS.tolist(), (LOGITS + 1).tolist())
    assert bundle.labels().tolist() == [0, 2, 1, 0]


def test_arrays_are_mapped_where_they_lie(tmp_path: Path) -> None:
    place = opened(tmp_path, WHOLE).locate(INPUTS)
    assert (place.shape, place.dtype) == ((4, 1, 8, 8), "|u1")
    assert WHOLE[place.offset : place.offset + 256] == INPUT_VALUES.tobytes()
    values = place.open()
    assert isinstance(values, np.memmap)
    assert values.tolist() == INPUT_VALUES.tolist()
    assert not values.flags.writeable


def test_an_artifact_is_written_as_a_file_of_its_own(tmp_path: Path) -> None:
    path = opened(tmp_path, WHOLE).extract(ARTIFACT, tmp_path)
    assert (path, path.read_bytes()) == (tmp_path / "fp32.onnx", MODEL)


def test_a_bundle_that_changes_while_it_is_open_is_not_used(tmp_path: Path) -> None:
    bundle = opened(tmp_path, WHOLE)
    bundle.path.write_bytes(WHOLE.replace(MODEL, MODEL.upper()))
    with pytest.raises(BundleError) as caught:
        bundle.extract(ARTIFACT, tmp_path)
    assert caught.value.what == f"{ARTIFACT} was changed while it was read"
    with pytest.raises(BundleError) as again:
        bundle.read(ARTIFACT)
    assert str(again.value) == str(caught.value)


def test_a_newer_minor_version_is_read(tmp_path: Path) -> None:
    text = manifest_text(FILES).replace(b'"schema": "1.2"', b'"schema": "1.7", "new": {"key": 1}')
    assert opened(tmp_path, packed(FILES, text)).manifest == dataclasses.replace(manifest_of(FILES), schema="1.7")


def test_a_manifest_from_before_there_were_titles_and_artifacts_left_out_is_read(tmp_path: Path) -> None:
    manifest = json.loads(manifest_text(FILES))
    del manifest["left_out"]
    for artifact in manifest["artifacts"]:
        del artifact["title"]
    text = json.dumps({**manifest, "schema": "1.0"}).encode()
    assert opened(tmp_path, packed(FILES, text)).manifest == dataclasses.replace(manifest_of(FILES), schema="1.0")


def test_what_was_left_out_stands_in_the_manifest_with_its_reason(tmp_path: Path) -> None:
    left = LeftOut(name="int8.torchscript", what="swin_t cannot be traced", advice="int8.onnx")
    manifest = dataclasses.replace(manifest_of(FILES), left_out=(left,))
    text = codec.write_json(manifest, indent=2).encode()
    assert opened(tmp_path, packed(FILES, text)).manifest.left_out == (left,)


def test_the_container_is_a_zip_file_like_any_other_made_with_these_settings() -> None:
    members = archive.read(io.BytesIO(WHOLE))
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as found:
        assert found.testzip() is None
        assert [(it.name, it.size_bytes, it.crc32, it.start) for it in members] == [
            (info.filename, info.file_size, info.CRC, info.header_offset) for info in found.infolist()
        ]


# What is no bundle


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path / "no.edgepack")
    assert str(caught.value) == f"{tmp_path / 'no.edgepack'}: cannot be read: No such file or directory"


def test_a_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be read: Is a directory"


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"") == f"{DAMAGED}: is empty{COPY_AGAIN}"


def test_a_file_of_another_kind_is_told(tmp_path: Path) -> None:
    expected = f"{DAMAGED}: is not a ZIP file, or has something before its first entry{COPY_AGAIN}"
    assert refusal(tmp_path, b"\x89PNG\r\n\x1a\n" + bytes(100)) == expected


def test_a_zip_file_of_another_kind_is_told(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path, zipped([("word/document.xml", b"")])) == "is a ZIP file without manifest.json: not a bundle"
    )
    assert refusal(tmp_path, zipped([])) == "is a ZIP file without manifest.json: not a bundle"


@pytest.mark.parametrize("cut", [1, 3, 21, 22, 60, 500, len(WHOLE) // 2, len(WHOLE) - 30, len(WHOLE) - 5])
def test_a_truncated_bundle_is_told_wherever_it_was_cut(cut: int, tmp_path: Path) -> None:
    expected = f"{DAMAGED}: was cut short, or has something behind its end{COPY_AGAIN}"
    assert refusal(tmp_path, WHOLE[:-cut]) == expected


def test_a_bundle_of_a_few_bytes_is_told(tmp_path: Path) -> None:
    expected = f"{DAMAGED}: is not a ZIP file, or has something before its first entry{COPY_AGAIN}"
    assert refusal(tmp_path, WHOLE[:3]) == expected


def test_bytes_behind_the_end_are_refused(tmp_path: Path) -> None:
    expected = f"{DAMAGED}: was cut short, or has something behind its end{COPY_AGAIN}"
    assert refusal(tmp_path, WHOLE + b"\n") == expected
    assert refusal(tmp_path, WHOLE + bytes(100)) == expected


def test_a_comment_is_refused(tmp_path: Path) -> None:
    expected = f"{DAMAGED}: was cut short, or has something behind its end{COPY_AGAIN}"
    assert refusal(tmp_path, patched(WHOLE, len(WHOLE) - 2, "<H", 5) + b"hello") == expected


def test_a_second_archive_behind_the_first_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, WHOLE + WHOLE) == f"{DAMAGED}: its directory is not where its end says{COPY_AGAIN}"


@pytest.mark.parametrize("prefix", [b"#!/usr/bin/env python3\n", b"\x7fELF" + bytes(60), b"P"])
def test_bytes_in_front_are_refused(prefix: bytes, tmp_path: Path) -> None:
    expected = f"{DAMAGED}: is not a ZIP file, or has something before its first entry{COPY_AGAIN}"
    assert refusal(tmp_path, prefix + WHOLE) == expected


def test_bytes_in_front_are_refused_where_the_offsets_count_them(tmp_path: Path) -> None:
    path = tmp_path / "net.edgepack"
    path.write_bytes(b"PK\x03\x04 in disguise")
    with zipfile.ZipFile(path, "a") as target:
        for name, data in [(MANIFEST, manifest_text(FILES)), *FILES.items()]:
            target.writestr(zipfile.ZipInfo(name), data)
    expected = f"{DAMAGED}: {MANIFEST}: entries overlap, leave a gap or are out of order{COPY_AGAIN}"
    assert refusal(tmp_path, path.read_bytes()) == expected


# Names


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "artifacts/../../evil",
        "/etc/passwd",
        "..",
        ".",
        "artifacts/./fp32.onnx",
        "artifacts//fp32.onnx",
        "artifacts/",
        "artifacts\\evil",
        "..\\evil",
        "C:evil",
        "C:/evil",
        "eval/inputs.npy:stream",
    ],
)
def test_a_name_that_leaves_the_bundle_is_refused(name: str, tmp_path: Path) -> None:
    # Also where the manifest lists it with its true hash.
    data = packed({**FILES, name: b"evil"})
    assert refusal(tmp_path, data) == f"{DAMAGED}: {name!r}: an entry's name leaves the bundle{COPY_AGAIN}"


def test_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, packed({**FILES, "": b""})).startswith(f"{DAMAGED}: '': an entry's name leaves the bundle")


@pytest.mark.parametrize(
    ("name", "shown"), [("\x1b[2J", "'\\x1b[2J'"), ("a\nb", "'a\\nb'"), ("größe", "'grÃ¶Ã\\x9fe'")]
)
def test_a_name_with_odd_letters_is_refused_and_shown_harmlessly(name: str, shown: str, tmp_path: Path) -> None:
    expected = f"{DAMAGED}: {shown}: an entry's name has letters that none has{COPY_AGAIN}"
    assert refusal(tmp_path, packed({**FILES, name: b"evil"})) == expected


def test_a_name_that_ends_early_for_some_readers_is_refused(tmp_path: Path) -> None:
    data = packed({**FILES, "runner/cli.pyXexe": b"evil"}).replace(b"runner/cli.pyXexe", b"runner/cli.py\0exe")
    expected = f"{DAMAGED}: 'runner/cli.py\\x00exe': an entry's name has letters that none has{COPY_AGAIN}"
    assert refusal(tmp_path, data) == expected


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    data = zipped([(MANIFEST, manifest_text(FILES)), *FILES.items(), (ARTIFACT, b"another")])
    assert refusal(tmp_path, data) == f"{DAMAGED}: {ARTIFACT}: more than one entry has this name{COPY_AGAIN}"


def test_more_entries_than_the_format_counts_are_refused() -> None:
    members, start = [], 0
    for index in range(1 << 16):
        members.append(archive.member(f"{index:x}", 0, 0, start=start))
        start = members[-1].end
    records = b"".join(archive.directory([it])[:-END_BYTES] for it in members)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, len(records), start, 0)
    data = b"".join(archive.local_header(it) for it in members) + records + end
    with pytest.raises(archive.MalformedError, match=r"^has 65536 entries, and a bundle has at most 65534$"):
        archive.read(io.BytesIO(data))


# What the manifest says


def test_an_entry_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    data = zipped([(MANIFEST, manifest_text(FILES)), *FILES.items(), ("runner/evil.py", b"print()")])
    assert refusal(tmp_path, data) == f"runner/evil.py: is not listed in the manifest{COPY_AGAIN}"


def test_entries_that_are_missing_are_all_named(tmp_path: Path) -> None:
    less = {name: data for name, data in FILES.items() if name not in (ARTIFACT, LABELS)}
    assert refusal(tmp_path, packed(less, manifest_text(FILES))) == (
        f"{ARTIFACT}: is listed in the manifest and missing; {LABELS}: is listed in the manifest and missing"
        + COPY_AGAIN
    )


def test_a_file_that_every_bundle_needs_must_be_listed(tmp_path: Path) -> None:
    less = {name: data for name, data in FILES.items() if name not in (ARTIFACT, LABELS)}
    assert refusal(tmp_path, packed(less)) == (
        f"{LABELS}: is needed and not listed in the manifest; {ARTIFACT}: is needed and not listed in the manifest"
        + COPY_AGAIN
    )


def test_an_entry_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    manifest = manifest_of(FILES)
    twice = dataclasses.replace(manifest, entries=(*manifest.entries, manifest.entries[0]))
    expected = f"{ARTIFACT}: is listed 2 times in the manifest{COPY_AGAIN}"
    assert refusal(tmp_path, packed(FILES, codec.write_json(twice).encode())) == expected


def test_artifacts_of_one_name_or_of_one_file_name_are_refused(tmp_path: Path) -> None:
    files = {**FILES, "other/fp32.onnx": b"x", "other/second.onnx": b"x"}
    manifest = manifest_of(files)
    (first,) = manifest.artifacts
    others = (
        dataclasses.replace(first, path="other/second.onnx"),
        dataclasses.replace(first, path="other/fp32.onnx", name="second"),
    )
    for other in others:
        text = codec.write_json(dataclasses.replace(manifest, artifacts=(first, other))).encode()
        assert refusal(tmp_path, packed(files, text)) == f"two artifacts have one name{COPY_AGAIN}"


def test_a_bundle_without_artifacts_is_refused(tmp_path: Path) -> None:
    text = codec.write_json(dataclasses.replace(manifest_of(FILES), artifacts=())).encode()
    assert refusal(tmp_path, packed(FILES, text)) == f"the manifest names no artifact{COPY_AGAIN}"


def test_a_size_that_the_manifest_lies_about_is_told(tmp_path: Path) -> None:
    text = manifest_text(FILES).replace(f'"size_bytes": {len(MODEL)}'.encode(), b'"size_bytes": 7')
    expected = f"{ARTIFACT}: has {len(MODEL)} bytes, and the manifest says 7{COPY_AGAIN}"
    assert refusal(tmp_path, packed(FILES, text)) == expected


def test_bytes_that_are_not_those_of_the_manifest_are_told_of_every_entry(tmp_path: Path) -> None:
    changed = {**FILES, ARTIFACT: MODEL.upper(), LABELS: FILES[LABELS][:-1] + b"\x01"}
    assert refusal(tmp_path, packed(changed, manifest_text(FILES))) == (
        f"{ARTIFACT}: its bytes are not those that were packed; {LABELS}: its bytes are not those that were packed"
        + COPY_AGAIN
    )


def test_a_bundle_of_another_major_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    text = manifest_text(FILES).replace(b'"schema": "1.2"', b'"schema": "2.0"')
    expected = f"{MANIFEST}: schema: version 2.0 cannot be read here, only 1.x; update edgepack"
    assert refusal(tmp_path, packed(FILES, text)) == expected


def test_a_damaged_manifest_is_told_as_such_and_not_read(tmp_path: Path) -> None:
    data = WHOLE.replace(b'"schema": "1.2"', b'"schema": "3.0"')
    assert refusal(tmp_path, data) == f"{MANIFEST}: its bytes are not those that were packed{COPY_AGAIN}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"<manifest/>", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"\x80", "not JSON: 'utf-8' codec can't decode byte 0x80 in position 0: invalid start byte"),
        (b"{}", "schema: expected a version such as '1.2', got None"),
    ],
)
def test_a_manifest_that_is_none_is_told(text: bytes, problem: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, packed(FILES, text)) == f"{MANIFEST}: {problem}"


def test_every_wrong_key_of_the_manifest_is_told(tmp_path: Path) -> None:
    data = codec.unstructure(manifest_of(FILES))
    del data["target"]["machine"]
    data["preprocess"]["mean"] = "0.5"
    data["entries"][1]["size_bytes"] = True
    text = codec.write_json(data).encode()
    assert set(refusal(tmp_path, packed(FILES, text)).removeprefix(f"{MANIFEST}: ").splitlines()) == {
        "target.machine: missing",
        "preprocess.mean: expected a list, got '0.5'",
        "entries[1].size_bytes: expected an integer, got True",
    }


def test_an_enormous_manifest_is_not_read(tmp_path: Path) -> None:
    text = b" " * ((16 << 20) + 1)
    assert refusal(tmp_path, packed(FILES, text)) == f"{MANIFEST} is larger than 16777216 bytes"


# What the headers say


def test_a_zip_bomb_is_refused_before_a_byte_of_it_is_decompressed(tmp_path: Path) -> None:
    def compress(info: zipfile.ZipInfo) -> None:
        info.compress_type = zipfile.ZIP_DEFLATED

    size = 64 << 20
    data = zipped([(ARTIFACT, bytes(size))], compress)
    assert len(data) < size / 500
    tracemalloc.start()
    try:
        found = refusal(tmp_path, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == f"{DAMAGED}: {ARTIFACT}: is compressed, and a bundle's entries never are{COPY_AGAIN}"
    assert peak < 1 << 20


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    data = patched(WHOLE, record_at(WHOLE, ARTIFACT) + 8, "<H", 1)
    assert (
        refusal(tmp_path, data) == f"{DAMAGED}: {ARTIFACT}: is encrypted, and a bundle's entries never are{COPY_AGAIN}"
    )


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    at = record_at(WHOLE, LABELS)
    data = patched(WHOLE, at + 42, "<L", archive.read(io.BytesIO(WHOLE))[1].start)
    expected = f"{DAMAGED}: {LABELS}: entries overlap, leave a gap or are out of order{COPY_AGAIN}"
    assert refusal(tmp_path, data) == expected


def laid_out(gap: bytes) -> bytes:
    """Return a bundle with `gap` between the manifest and the next entry."""
    data, members, start = b"", [], 0
    for name, content in [(MANIFEST, manifest_text(FILES)), *FILES.items()]:
        members.append(archive.member(name, len(content), zlib.crc32(content), start=start))
        data += archive.local_header(members[-1]) + content + (gap if name == MANIFEST else b"")
        start = len(data)
    return data + archive.directory(members)


def test_bytes_between_two_entries_are_refused(tmp_path: Path) -> None:
    assert opened(tmp_path, laid_out(b"")).manifest == manifest_of(FILES)
    expected = f"{DAMAGED}: {ARTIFACT}: entries overlap, leave a gap or are out of order{COPY_AGAIN}"
    assert refusal(tmp_path, laid_out(b"hidden")) == expected


def test_bytes_between_the_last_entry_and_the_directory_are_refused(tmp_path: Path) -> None:
    start = archive.read(io.BytesIO(WHOLE))[-1].end
    data = patched(WHOLE[:start] + b"hidden" + WHOLE[start:], len(WHOLE), "<L", start + 6)
    expected = f"{DAMAGED}: its directory is not the one that its entries ask for{COPY_AGAIN}"
    assert refusal(tmp_path, data) == expected


@pytest.mark.parametrize("size", [0, 7, len(MODEL) + 1, 1 << 20, 0xFFFFFFFF])
@pytest.mark.parametrize("at", [18, 22])
def test_a_size_that_the_entrys_own_header_lies_about_is_refused(at: int, size: int, tmp_path: Path) -> None:
    data = patched(WHOLE, WHOLE.index(MODEL) - len(ARTIFACT) - 30 + at, "<L", size)
    assert refusal(tmp_path, data) == f"{DAMAGED}: {ARTIFACT}: its two headers disagree{COPY_AGAIN}"


@pytest.mark.parametrize("size", [0, 7, len(MODEL) + 1, 1 << 20, 0xFFFFFFFF])
def test_a_size_that_the_directory_lies_about_is_refused(size: int, tmp_path: Path) -> None:
    at = record_at(WHOLE, ARTIFACT)
    both = patched(patched(WHOLE, at + 20, "<L", size), at + 24, "<L", size)
    assert refusal(tmp_path, both) == f"{DAMAGED}: {ARTIFACT}: its two headers disagree{COPY_AGAIN}"
    one = patched(WHOLE, at + 24, "<L", size)
    expected = f"{DAMAGED}: {ARTIFACT}: is compressed, and a bundle's entries never are{COPY_AGAIN}"
    assert refusal(tmp_path, one) == expected


@pytest.mark.parametrize("size", [7, len(MODEL) + 1])
def test_a_size_that_both_headers_lie_about_is_refused(size: int, tmp_path: Path) -> None:
    local, central = WHOLE.index(MODEL) - len(ARTIFACT) - 30, record_at(WHOLE, ARTIFACT)
    data = WHOLE
    for at in (local + 18, local + 22, central + 20, central + 24):
        data = patched(data, at, "<L", size)
    expected = f"{DAMAGED}: {INPUTS}: entries overlap, leave a gap or are out of order{COPY_AGAIN}"
    assert refusal(tmp_path, data) == expected


def test_a_name_that_the_two_headers_tell_differently_is_refused(tmp_path: Path) -> None:
    at = WHOLE.index(ARTIFACT.encode() + MODEL)
    data = WHOLE[:at] + b"artifacts/fp16.onnx" + WHOLE[at + len(ARTIFACT) :]
    assert refusal(tmp_path, data) == f"{DAMAGED}: {ARTIFACT}: its two headers disagree{COPY_AGAIN}"


def alter_date(info: zipfile.ZipInfo) -> None:
    """Say that the file is of another day."""
    info.date_time = (2026, 11, 1, 12, 0, 0)


def alter_extra(info: zipfile.ZipInfo) -> None:
    """Hang on a field that unzip would show nothing of."""
    info.extra = struct.pack("<HH", 0xCAFE, 4) + b"evil"


def alter_mode(info: zipfile.ZipInfo) -> None:
    """Make it a symbolic link."""
    info.external_attr = 0o120777 << 16


def alter_comment(info: zipfile.ZipInfo) -> None:
    """Hang on a comment."""
    info.comment = b"hello"


def alter_system(info: zipfile.ZipInfo) -> None:
    """Say that it was made elsewhere."""
    info.create_system = 0


OTHER_HEADERS = "its two headers disagree"
OTHER_DIRECTORY = "its directory is not the one that its entries ask for"


@pytest.mark.parametrize(
    ("alter", "problem"),
    [
        (alter_date, f"{MANIFEST}: {OTHER_HEADERS}"),
        (alter_extra, f"{MANIFEST}: {OTHER_HEADERS}"),
        (alter_mode, OTHER_DIRECTORY),
        (alter_comment, OTHER_DIRECTORY),
        (alter_system, OTHER_DIRECTORY),
    ],
)
def test_headers_say_nothing_beyond_what_follows_from_the_entries(
    alter: Callable[[zipfile.ZipInfo], None], problem: str, tmp_path: Path
) -> None:
    data = zipped([(MANIFEST, manifest_text(FILES)), *FILES.items()], alter)
    assert refusal(tmp_path, data) == f"{DAMAGED}: {problem}{COPY_AGAIN}"


def test_an_end_that_counts_wrongly_is_refused(tmp_path: Path) -> None:
    expected = f"{DAMAGED}: {OTHER_DIRECTORY}{COPY_AGAIN}"
    for at in (4, 6, 8, 10):
        assert refusal(tmp_path, patched(WHOLE, len(WHOLE) - END_BYTES + at, "<H", 3)) == expected


def test_a_directory_of_other_bytes_is_refused(tmp_path: Path) -> None:
    at = record_at(WHOLE, LABELS)
    expected = f"{DAMAGED}: its directory is damaged{COPY_AGAIN}"
    assert refusal(tmp_path, WHOLE[:at] + b"?" + WHOLE[at + 1 :]) == expected
    assert refusal(tmp_path, patched(WHOLE, at + 30, "<H", 9)) == expected


# Single bits


def test_every_bit_of_every_header_counts(tmp_path: Path) -> None:
    members = archive.read(io.BytesIO(WHOLE))
    spans = [range(it.start, it.offset) for it in members] + [range(members[-1].end, len(WHOLE))]
    path = tmp_path / "net.edgepack"
    silent = []
    path.write_bytes(WHOLE)
    with path.open("r+b", buffering=0) as file:
        for at in (at for span in spans for at in span):
            for bit in range(8):
                file.seek(at)
                file.write(bytes([WHOLE[at] ^ 1 << bit]))
                try:
                    open_bundle(path)
                except BundleError:
                    continue
                silent.append((at, bit))
            file.seek(at)
            file.write(WHOLE[at : at + 1])
    assert silent == []


QUICK = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a bundle as the writer makes it, with the runner in it and a host report behind."""
    path = tmp_path_factory.mktemp("real") / "net.edgepack"
    contents = tuple(writer.Content(path=name, source=data) for name, data in FILES.items())
    writer.write(path, dataclasses.replace(manifest_of(FILES), entries=()), contents)
    found = dataclasses.replace(reports.host(), bundle_id=open_bundle(path).id)
    writer.add_host_report(path, report.seal(found))
    return path.read_bytes()


@given(st.data())
@settings(QUICK, max_examples=60)
def test_a_flipped_bit_is_found_wherever_it_is(real: bytes, tmp_path: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(real) - 1))
    bit = data.draw(st.integers(0, 7))
    refusal(tmp_path, real[:at] + bytes([real[at] ^ 1 << bit]) + real[at + 1 :])


@given(st.data())
@settings(QUICK, max_examples=60)
def test_a_flipped_bit_of_the_host_report_is_found(real: bytes, tmp_path: Path, data: st.DataObject) -> None:
    (last,) = (it for it in archive.read(io.BytesIO(real)) if it.name == HOST_REPORT)
    at = data.draw(st.integers(last.offset, last.end - 1))
    changed = real[:at] + bytes([real[at] ^ 1 << data.draw(st.integers(0, 7))]) + real[at + 1 :]
    assert refusal(tmp_path, changed) == f"{HOST_REPORT}: its bytes are not those that were packed{COPY_AGAIN}"


@given(st.data())
@QUICK
def test_no_change_of_a_bundle_goes_unnoticed(tmp_path: Path, data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)))))
    middle = data.draw(st.binary(max_size=40) | st.just(WHOLE[first:second] * 2) | st.just(WHOLE[second:first:-1]))
    changed = WHOLE[:first] + middle + WHOLE[second:]
    assume(changed != WHOLE)
    refusal(tmp_path, changed)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06"]), st.sampled_from([0, END_BYTES, 120])
)
@QUICK
def test_no_bytes_raise_anything_but_what_is_wrong_with_them(
    tmp_path: Path, middle: bytes, front: bytes, tail: int
) -> None:
    refusal(tmp_path, front + middle + (WHOLE[-tail:] if tail else b""))


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@QUICK
def test_no_manifest_raises_anything_but_what_is_wrong_with_it(tmp_path: Path, data: st.DataObject) -> None:
    document: Any = codec.unstructure(manifest_of(FILES))
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not place[key] or not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(PLAIN.filter(writable))
    with contextlib.suppress(BundleError):
        bundle = opened(tmp_path, packed(FILES, codec.write_json(document).encode()))
        assert {name: bundle.read(name) for name in FILES} == FILES


def writable(value: object) -> bool:
    """Tell whether a value can be written: half a letter cannot."""
    try:
        codec.write_json(value).encode()
    except UnicodeEncodeError:
        return False
    return True


# What is in the entries


class Opened(dict[str, int]):
    """An object that unpickling would make."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("something was unpickled",)


def npy(array: np.ndarray[Any, Any], *, allow_pickle: bool = False) -> bytes:
    """Return what numpy itself writes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def labels_refusal(folder: Path, labels: bytes) -> str:
    """Return why a bundle's labels are refused, the bundle being true to itself."""
    bundle = opened(folder, packed({**FILES, LABELS: labels}))
    with pytest.raises(BundleError) as caught:
        bundle.labels()
    return str(caught.value).removeprefix(f"{bundle.path}: ")


NO_ARRAY = f"{LABELS}: is not an array of numbers in C order{COPY_AGAIN}"


def test_an_array_that_would_be_unpickled_is_refused_and_is_not(tmp_path: Path) -> None:
    objects = np.array([Opened()], dtype=object)
    assert labels_refusal(tmp_path, npy(objects, allow_pickle=True)) == NO_ARRAY


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(["a", "b"]),
        np.array([1 + 2j]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
        np.array(["2026-11-01"], dtype="datetime64[D]"),
    ],
    ids=["Fortran order", "text", "complex", "structured", "dates"],
)
def test_an_array_of_another_kind_is_refused(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    assert labels_refusal(tmp_path, npy(array)) == NO_ARRAY


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array at all", FILES[LABELS][:100], FILES[REFERENCE]])
def test_what_is_no_array_is_refused(content: bytes, tmp_path: Path) -> None:
    assert labels_refusal(tmp_path, content) == NO_ARRAY


@pytest.mark.parametrize(
    "shape", ["(5,)", "(3,)", "(0,)", "()", "(4, 2)", "(4294967296, 4294967296)", "(999999999999999,)"]
)
def test_an_array_whose_header_and_size_disagree_is_refused(shape: str, tmp_path: Path) -> None:
    old = b"(4,), }"
    padded = f"{shape}, }}".encode()
    content = FILES[LABELS].replace(old + b" " * (len(padded) - len(old)), padded.ljust(len(old)))
    assert len(content) == len(FILES[LABELS])
    assert labels_refusal(tmp_path, content) == f"{LABELS}: its header and its size disagree{COPY_AGAIN}"


def test_an_array_without_elements_is_refused(tmp_path: Path) -> None:
    expected = f"{LABELS}: its header and its size disagree{COPY_AGAIN}"
    assert labels_refusal(tmp_path, npy(np.zeros(0, np.int64))) == expected


def test_labels_are_integers(tmp_path: Path) -> None:
    assert labels_refusal(tmp_path, npy(np.array([0.5, 1.0]))) == f"{LABELS}: expected integers, got float64"
    assert opened(tmp_path, packed({**FILES, LABELS: npy(np.array([3, 1], np.uint8))})).labels().tolist() == [3, 1]


@pytest.mark.parametrize("kind", ["|u1", "|i1", "<u2", ">i2", "<i4", "<i8", ">f4", "<f2", "<f8", "|b1"])
def test_every_kind_of_number_is_found_as_numpy_wrote_it(kind: str, tmp_path: Path) -> None:
    array = np.array([[1, 0, 1], [0, 1, 1]], kind)
    place = opened(tmp_path, packed({**FILES, INPUTS: npy(array)})).locate(INPUTS)
    assert (place.open().tolist(), place.dtype) == (array.tolist(), kind)


def reference_refusal(folder: Path, reference: bytes) -> str:
    """Return why a bundle's reference logits are refused, the bundle being true to itself."""
    bundle = opened(folder, packed({**FILES, REFERENCE: reference}))
    with pytest.raises(BundleError) as caught:
        bundle.reference()
    return str(caught.value).removeprefix(f"{bundle.path}: {REFERENCE}: ")


def test_reference_logits_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    expected = f"is not a ZIP file, or has something before its first entry{COPY_AGAIN}"
    assert reference_refusal(tmp_path, b"logits") == expected
    assert reference_refusal(tmp_path, b"") == f"is empty{COPY_AGAIN}"
    assert reference_refusal(tmp_path, FILES[REFERENCE][:-1]).startswith("was cut short")


def test_a_zip_bomb_within_the_reference_logits_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, reference=np.zeros((1000, 1000), np.float32))
    expected = f"reference.npy: is compressed, and a bundle's entries never are{COPY_AGAIN}"
    assert reference_refusal(tmp_path, file.getvalue()) == expected


def test_reference_logits_that_would_be_unpickled_are_refused(tmp_path: Path) -> None:
    content = zipped([("reference.npy", npy(np.array([Opened()], dtype=object), allow_pickle=True))])
    assert reference_refusal(tmp_path, content) == f"reference.npy: is not an array of numbers in C order{COPY_AGAIN}"


def test_reference_logits_that_reach_beyond_their_entry_are_refused(tmp_path: Path) -> None:
    # An archive whose end says that it is longer than the entry that it lies in.
    content = FILES[REFERENCE]
    longer = patched(content, len(content) - 10, "<L", struct.unpack_from("<L", content, len(content) - 10)[0] + 99)
    assert reference_refusal(tmp_path, longer) == f"its directory is not where its end says{COPY_AGAIN}"


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 200))
@QUICK
def test_no_array_raises_anything_but_what_is_wrong_with_it(
    tmp_path: Path, content: bytes, first: int, length: int
) -> None:
    labels = FILES[LABELS][:first] + content + FILES[LABELS][first + length :]
    reference = FILES[REFERENCE][:first] + content + FILES[REFERENCE][first + length :]
    bundle = opened(tmp_path, packed({**FILES, LABELS: labels, REFERENCE: reference}))
    for read in (bundle.labels, bundle.reference):
        with contextlib.suppress(BundleError):
            read()


# The host report


def reported(text: bytes) -> bytes:
    """Return a bundle that has this host report."""
    return zipped([(MANIFEST, manifest_text(FILES)), *FILES.items(), (HOST_REPORT, text)])


def host_report_of(bundle_id: str) -> report.Report:
    """Return a report of the bundle of that id."""
    return report.seal(dataclasses.replace(reports.host(), bundle_id=bundle_id))


BUNDLE_ID = hashlib.sha256(manifest_text(FILES)).hexdigest()


def test_the_host_report_is_read(tmp_path: Path) -> None:
    found = host_report_of(BUNDLE_ID)
    bundle = opened(tmp_path, reported(codec.write_json(found).encode()))
    assert bundle.host_report() == found
    assert bundle.host_summary() == report_reader.read_summary(codec.write_json(found), "the same")
    assert bundle.id == BUNDLE_ID


def test_the_host_report_of_another_bundle_is_refused(tmp_path: Path) -> None:
    bundle = opened(tmp_path, reported(codec.write_json(host_report_of("ab" * 32)).encode()))
    with pytest.raises(BundleError) as caught:
        bundle.host_report()
    assert str(caught.value) == f"{bundle.path}: its host report is that of another bundle{COPY_AGAIN}"


def test_an_altered_host_report_is_refused(tmp_path: Path) -> None:
    altered = codec.write_json(host_report_of(BUNDLE_ID)).replace('"top1":1.0', '"top1":0.9')
    bundle = opened(tmp_path, reported(altered.encode()))
    with pytest.raises(ReportError) as caught:
        bundle.host_report()
    assert str(caught.value) == (
        f"{bundle.path}: {HOST_REPORT}: its digest does not fit its content: it was altered or damaged after it was"
        " written\n  try: measure again with `bench-runner`"
    )


def test_a_host_report_that_is_none_is_refused(tmp_path: Path) -> None:
    bundle = opened(tmp_path, reported(b"[]"))
    with pytest.raises(ReportError) as caught:
        bundle.host_report()
    assert str(caught.value) == (
        f"{bundle.path}: {HOST_REPORT}: is no report: schema: expected a version such as '1.3', got None\n"
        "  try: name a report that `bench-runner BUNDLE` has written"
    )
