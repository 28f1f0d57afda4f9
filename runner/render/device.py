"""A machine as a page: what it is, what it does at this moment, and what can run on it."""

from runner.facts import DeviceFacts, DeviceState
from runner.render import units
from runner.render.gpu import gpu_rows
from runner.render.page import Page, Table, Title
from runner.render.units import NONE


def device_page(facts: DeviceFacts, state: DeviceState) -> Page:
    """Return what a machine is, what it does at this moment, and what can run on it, as a page."""
    runtimes = tuple(
        (runtime.format, f"{runtime.package} {runtime.version or 'not installed'}", runtime.kernel)
        for runtime in facts.runtimes
    )
    return (
        Title(text=device_line(facts)),
        Table(columns=("fact", "value"), rows=device_rows(facts, state), left=2),
        *instruction_lines(facts),
        Table(columns=("artifacts", "runtime", "int8 kernels"), rows=runtimes, left=3),
    )


def device_rows(facts: DeviceFacts, state: DeviceState) -> tuple[tuple[str, str], ...]:
    """Return what a machine is and does at this moment, a name and a value each."""
    memory = units.size_scale([facts.memory_bytes]).show(facts.memory_bytes)
    return (
        ("system", f"{facts.system}, {facts.python}"),
        ("CPUs", f"{facts.cpus} usable, numbers {', '.join(map(str, facts.affinity))}"),
        ("quota", "none" if facts.cpu_quota is None else f"{facts.cpu_quota:g} CPUs"),
        ("memory", memory),
        ("CUDA", ", ".join(facts.cuda) or "no device"),
        *(gpu_rows(facts.gpu, state.gpu) if facts.gpu else ()),
        *((("GPU", f"nothing more: {facts.gpu_unknown}"),) if facts.gpu_unknown else ()),
        ("virtual", facts.virtual or "no"),
        ("emulated", facts.emulated or "no"),
        ("governor", facts.governor or NONE),
        ("load", units.number(state.load_average, 2)),
        ("temperature", f"{units.number(state.temperature_c, 1)} °C" if state.temperature_c is not None else NONE),
        ("frequency", f"{units.number(state.frequency_mhz, 0)} MHz" if state.frequency_mhz is not None else NONE),
        ("throttled", NONE if state.throttled is None else "yes" if state.throttled else "no"),
    )


def instruction_lines(facts: DeviceFacts) -> tuple[str, str]:
    """Return what a machine's CPU has for small numbers, and what is set there that changes a runtime's speed."""
    variables = ", ".join(f"{name}={value}" for name, value in facts.environment.items())
    return (
        f"Instructions for int8 and half precision: {', '.join(facts.features) or 'none'}",
        f"Variables that change a runtime's speed: {variables or 'none is set'}",
    )


def device_line(facts: DeviceFacts) -> str:
    """Return what a machine is, in a few words."""
    name = f"{facts.board} ({facts.cpu})" if facts.board else facts.cpu
    return ", ".join((name, facts.machine, f"{facts.cpus} CPU{'s' if facts.cpus > 1 else ''}", *facts.cuda))
