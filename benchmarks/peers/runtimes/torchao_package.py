"""torchao's PT2E for x86 once more, compiled ahead of time into a package of AOTInductor."""

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.torch_compile import use_cache
from benchmarks.peers.runtimes.torchao_int8 import FILE, converted


def build(case: Case) -> None:
    """Calibrate, convert and compile."""
    use_cache(case)
    import torch  # noqa: PLC0415 - Inductor reads its environment when it is imported
    import torch._inductor as inductor  # noqa: PLC0415 - as above

    with torch.no_grad():
        inductor.aoti_compile_and_package(
            converted(case), package_path=str(case.folder / FILE), inductor_configs={"freezing": True}
        )


def load(case: Case) -> Loaded:
    """Return the package."""
    import torch  # noqa: PLC0415 - as above
    import torch._inductor as inductor  # noqa: PLC0415 - as above

    from benchmarks.peers.runtimes.torch_network import loaded  # noqa: PLC0415 - as above

    torch.set_num_threads(case.threads)
    return loaded(torch.inference_mode()(inductor.aoti_load_package(str(case.folder / FILE))))
