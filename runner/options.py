"""How an artifact is to be run on this machine, by what the manifest says of it and of its target."""

from runner.device import topology
from runner.manifest import Artifact, Target
from runner.runtimes import KNOWN, Options


def make_options(artifact: Artifact, target: Target, threads: int, *, stand_in: bool = False) -> Options:
    """Return how a runtime is to run an artifact that was made for a target: measured here, or used by a program."""
    return Options(
        threads=threads,
        device="cpu" if stand_in else artifact.device,
        engine=artifact.engine,
        made_with=made_with(artifact),
        spinning=target.session.spinning,
        # The first core is for the thread that calls.
        affinity=topology.physical_cores(threads)[1:] if target.session.affinity == "physical-cores" else (),
        # ARM's int8 kernels never saturate: an x86 CPU that takes their place must not either.
        exact_int8=target.machine == "aarch64",
    )


def made_with(artifact: Artifact) -> str | None:
    """Return the version of an artifact's runtime that was there when it was made, if the manifest has one."""
    versions = (artifact.made_with.get(name) for name in KNOWN[artifact.format].distributions)
    return next(filter(None, versions), None)
