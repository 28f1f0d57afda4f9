"""torch.compile with Inductor and frozen weights, as PyTorch advises for inference on a CPU."""

import os

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded

CACHE = "inductor"


def build(case: Case) -> None:
    """Compile it once, so that later processes find it in Inductor's cache."""
    load(case)


def load(case: Case) -> Loaded:
    """Return the compiled module."""
    use_cache(case)
    import torch  # noqa: PLC0415 - Inductor reads its environment when it is imported
    import torch._inductor.config  # noqa: PLC0415 - as above

    from benchmarks.peers.runtimes.torch_network import example, loaded, network  # noqa: PLC0415 - as above

    torch._inductor.config.freezing = True  # noqa: SLF001 - the module's public road is an environment variable
    compiled = torch.compile(network(case))
    run = torch.no_grad()(compiled)
    run(example(case))
    return loaded(run)


def use_cache(case: Case) -> None:
    """Keep what Inductor compiles in the case's folder, and compile in this process alone."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(case.folder / CACHE)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
