"""torchao's PT2E for x86: static int8, lowered to Inductor, compiled ahead of time into a package."""

import warnings

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.torch_compile import use_cache

FILE = "network.pt2"


def build(case: Case) -> None:
    """Calibrate, convert, lower and compile."""
    use_cache(case)
    import torch  # noqa: PLC0415 - Inductor reads its environment when it is imported
    import torch._inductor as inductor  # noqa: PLC0415 - as above
    from torchao.quantization.pt2e.lowering import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        lower_pt2e_quantized_to_x86,
    )

    from benchmarks.peers.runtimes.torch_network import example  # noqa: PLC0415 - as above

    inputs = (example(case),)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lowered = lower_pt2e_quantized_to_x86(_converted(case), inputs)
        inductor.aoti_compile_and_package(torch.export.export(lowered, inputs), package_path=str(case.folder / FILE))


def load(case: Case) -> Loaded:
    """Return the package."""
    import torch  # noqa: PLC0415 - as above
    import torch._inductor as inductor  # noqa: PLC0415 - as above
    import torchao  # type: ignore[import-untyped]  # noqa: F401, PLC0415 - it registers the operators of the package

    from benchmarks.peers.runtimes.torch_network import loaded  # noqa: PLC0415 - as above

    torch.set_num_threads(case.threads)
    return loaded(torch.inference_mode()(inductor.aoti_load_package(str(case.folder / FILE))))


def _converted(case: Case):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a GraphModule of torch, which loads late
    import torch  # noqa: PLC0415 - as above
    from torchao.quantization.pt2e.quantize_pt2e import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        convert_pt2e,
        prepare_pt2e,
    )
    from torchao.quantization.pt2e.quantizer import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
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
    graph = torch.export.export(own_relus(network(case)), (example(case),)).module()
    prepared = prepare_pt2e(graph, quantizer)
    for batch in calibration(case):
        prepared(batch)
    return convert_pt2e(prepared)
