"""A diagnosis as a page: what a board is, what it lacks, and what int8 will bring there."""

from collections.abc import Iterator, Sequence

from packager.remote.doctor import Diagnosis
from packager.remote.doctor.outlook import Outlook
from packager.remote.messages import BoardFacts, NoPython
from runner.render import units
from runner.render.device import device_line, device_rows, instruction_lines
from runner.render.page import Block, Listing, Page, Table, Title

UNMEASURED = "not measured on such a CPU"


def doctor_page(found: Diagnosis) -> Page:
    """Return a diagnosis as a page."""
    return (
        Title(text=f"{found.name}: {_line(found)}"),
        Table(columns=("fact", "value"), rows=tuple(_rows(found)), left=2),
        *(instruction_lines(found.device.facts) if found.device else ()),
        *_missing(found),
        *_int8(found),
    )


def _line(found: Diagnosis) -> str:
    if found.device:
        return device_line(found.device.facts)
    if found.no_python:
        return ", ".join(part for part in (found.no_python.board, found.no_python.machine) if part)
    return found.board.machine if found.board else ""


def _rows(found: Diagnosis) -> Iterator[tuple[str, str]]:
    if found.board:
        yield from _board_rows(found.board)
    if found.no_python:
        yield from _shell_rows(found.no_python)
    if found.device:
        # The system and its Python stand above, with what installers go by.
        yield from device_rows(found.device.facts, found.device.state)[1:]
    elif found.board:
        yield "runner", "did not say what the machine is"


def _board_rows(facts: BoardFacts) -> Iterator[tuple[str, str]]:
    free = units.size_scale([facts.free_bytes]).show(facts.free_bytes)
    packages = ", ".join(f"{name} {version}" for name, version in facts.packages.items())
    yield "system", f"{facts.system}, {facts.bits}-bit programs, {facts.libc or 'another libc than glibc'}"
    yield "Python", f"{facts.python}, {facts.executable}"
    yield "installers", ", ".join(_installers(facts))
    yield "packages", packages or "none of numpy, psutil and the runtimes"
    yield "disk", f"{free} free at {facts.cache}"


def _installers(facts: BoardFacts) -> Iterator[str]:
    yield "pip" if facts.has_pip else "no pip"
    yield "venv" if facts.has_ensurepip else "no ensurepip (python3-venv)"
    if facts.externally_managed:
        yield "the system keeps pip to environments"
    if facts.in_venv:
        yield "this is one"


def _shell_rows(found: NoPython) -> Iterator[tuple[str, str]]:
    yield "system", ", ".join(part for part in (found.system, found.bits and f"{found.bits}-bit programs") if part)
    yield "Python", found.found or "none"


def _missing(found: Diagnosis) -> Iterator[Block]:
    if not found.missing:
        yield "Nothing is missing: a bundle can run there."
        return
    lines = tuple(line for each in found.missing for line in (each.what, f"try: {each.advice}"))
    yield Listing(head="Missing before a bundle can run there:", lines=lines)


def _int8(found: Diagnosis) -> Iterator[Block]:
    if not found.int8:
        if not found.missing or found.device is None:
            return
        yield "int8: no runtime is known to run there."
        return
    rows = tuple((each.format, each.package, each.kernel or units.NONE, _speed(each)) for each in found.int8)
    yield Table(columns=("artifacts", "runtime", "int8 kernels", "int8 beside fp32"), rows=rows, left=4)
    notes = tuple(_notes(found.int8))
    if notes:
        yield Listing(head="What to know of int8 there:", lines=notes)
    yield f"Pack for it: pack --target {found.target}"


def _speed(each: Outlook) -> str:
    if each.speedup is None:
        return UNMEASURED
    return f"{each.speedup.low:g} to {each.speedup.high:g} times as fast"


def _notes(int8: Sequence[Outlook]) -> Iterator[str]:
    for each in int8:
        if each.speedup:
            yield f"{each.package}: measured with {each.speedup.evidence}"
        for reason in each.reasons:
            yield f"{each.package}: {reason.line}"
