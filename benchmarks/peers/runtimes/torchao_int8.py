"""torchao's PT2E for x86: static int8, compiled by Inductor with frozen weights when it is loaded."""

import warnings
from typing import TYPE_CHECKING

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.torch_compile import use_cache

if TYPE_CHECKING:
    import torch

FILE = "network.pt2"


def build(case: Case) -> None:
    """Calibrate, convert, and compile it once, so that later processes find it in Inductor's cache."""
    use_cache(case)
    import torch  # noqa: PLC0415 - Inductor reads its environment when it is imported

    torch.export.save(converted(case), case.folder / FILE)
    load(case)


def load(case: Case) -> Loaded:
    """Return the compiled network."""
    use_cache(case)
    import torch  # noqa: PLC0415 - as above
    import torch._inductor.config  # noqa: PLC0415 - as above

    # It registers what Inductor makes integer operators with.
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # type: ignore[import-untyped]  # noqa: F401, PLC0415 - as above

    from benchmarks.peers.runtimes.torch_network import example, loaded  # noqa: PLC0415 - as above

    torch.set_num_threads(case.threads)
    torch._inductor.config.freezing = True  # noqa: SLF001 - the module's public road is an environment variable
    run = torch.no_grad()(torch.compile(torch.export.load(case.folder / FILE).module()))
    run(example(case))
    return loaded(run)


def converted(case: Case) -> "torch.export.ExportedProgram":
    """Return the network in int8, by the quantizer's default settings."""
    import torch  # noqa: PLC0415 - as above
    from torchao.quantization.pt2e.quantize_pt2e import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        convert_pt2e,
        prepare_pt2e,
    )
    from torchao.quantization.pt2e.quantizer import (  # noqa: PLC0415 - as above
        x86_inductor_quantizer,
    )

    from benchmarks.peers.runtimes.torch_network import (  # noqa: PLC0415 - as above
        calibration,
        example,
        network,
        own_relus,
    )

    quantizer = x86_inductor_quantizer.X86InductorQuantizer()
    quantizer.set_global(x86_inductor_quantizer.get_default_x86_inductor_quantization_config())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Strict, for only so each addition of a residual network is noted as one of its own, which the quantizer needs.
        graph = torch.export.export(own_relus(network(case)), (example(case),), strict=True).module()
        prepared = prepare_pt2e(graph, quantizer)
        for batch in calibration(case):
            prepared(batch)
        return torch.export.export(convert_pt2e(prepared), (example(case),))
