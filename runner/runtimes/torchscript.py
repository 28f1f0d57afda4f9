"""TorchScript artifacts, run by PyTorch."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, record_function

from runner.errors import RuntimeUnavailable, said
from runner.operators import OperatorTime, Span, operator_times
from runner.runtimes import DeviceMemory, Options, Placement, Profiling
from runner.runtimes.reader import Reader

LEAST_WEIGHTS = 1_000_000
"""In fp32, for oneDNN's layouts. ResNet-18 and MobileNetV2 at 224 became 1.2 and 1.4 times as fast by them, and a
ResNet-8 at 32 slower by a quarter: changing to them and back takes its time too."""
INFERENCE = "edgepack inference"
"""How each call of the network is marked in a profile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TorchScriptSession:
    """A TorchScript artifact, loaded on its device."""

    module: torch.jit.ScriptModule
    device: torch.device
    provider: str
    version: str

    @property
    def thread_safe(self) -> bool:
        """Return True: what is frozen has no state, and each call has tensors of its own."""
        return True

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of prepared samples; on CUDA the copies there and back are part of it.

        The copy back waits until the GPU has done its work: what is timed from outside is all of it.
        """
        with torch.inference_mode():
            logits: NDArray[np.float32] = self.module(torch.from_numpy(inputs).to(self.device)).cpu().numpy()
        return logits

    def tensors(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
        """Return every output for prepared samples: of what is quantized the integers, of bfloat16 its float32."""
        with torch.inference_mode():
            found = self.module(torch.from_numpy(inputs).to(self.device))
        return tuple(_array(value) for value in ([found] if isinstance(found, torch.Tensor) else found))

    def device_ns(self, inputs: NDArray[np.float32]) -> int | None:
        """Run once more, and return the GPU's time between two events around the network; None on a CPU."""
        if self.device.type != "cuda":
            return None
        samples = torch.from_numpy(inputs).to(self.device)
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch
        with torch.inference_mode():
            began.record()
            self.module(samples)
            ended.record()
        ended.synchronize()
        return round(float(began.elapsed_time(ended)) * 1e6)

    def placement(self) -> Placement | None:
        """Return None: all of a TorchScript file is on its one device."""
        return None

    def device_memory(self) -> DeviceMemory | None:
        """Return what PyTorch's allocator has given out at most, and held; None on a CPU."""
        if self.device.type != "cuda":
            return None
        return DeviceMemory(
            allocated_bytes=torch.cuda.max_memory_allocated(self.device),
            reserved_bytes=torch.cuda.max_memory_reserved(self.device),
        )


def load(path: Path, options: Options) -> TorchScriptSession:
    """Load a TorchScript file. Raises RuntimeUnavailable where it, its engine or its device is not to be had."""
    _set_engine(path, options)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise RuntimeUnavailable(
            f"this torch ({torch.__version__}) finds no CUDA device",
            where=path.name,
            advice="a CUDA build of torch, and a driver that is new enough for it",
        )
    torch.set_num_threads(options.threads)
    # fp32 is fp32: by default convolutions on Ampere and later round their inputs to the 10 bits of TF32.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device(options.device)
    try:
        # TorchScript is deprecated, and every call says so: not a thing that the user of an artifact can change.
        with warnings.catch_warnings(action="ignore"):
            module = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]  # torch's own gap
    except (RuntimeError, ValueError) as error:
        reader = Reader(title="torch", package="torch", version=str(torch.__version__))
        raise reader.cannot_load(path.name, said(error), made_with=options.made_with) from None
    if not options.as_stored and _gains(module, options):
        module = _optimised(module)
    return TorchScriptSession(module=module, device=device, provider=_provider(options), version=str(torch.__version__))


def profile(path: Path, options: Options, profiling: Profiling) -> tuple[OperatorTime, ...]:
    """Run a TorchScript file, and return the time of each operator that it calls, those that this one calls included.

    They are those of the file, as its layers are called, without what is made of them at load for speed.
    Raises RuntimeUnavailable where it cannot be loaded.
    """
    session = load(path, replace(options, as_stored=True))
    warm, counted = profiling.inputs[: profiling.warmups], profiling.inputs[profiling.warmups :]
    for inputs in warm:
        session.run(inputs)
    samples = [torch.from_numpy(inputs).to(session.device) for inputs in counted]
    gpu = [ProfilerActivity.CUDA] if session.device.type == "cuda" else []
    with torch.inference_mode(), torch.profiler.profile(activities=[ProfilerActivity.CPU, *gpu]) as profiler:
        for each in samples:
            with record_function(INFERENCE):
                session.module(each)
    marks = [event for event in profiler.events() if event.name == INFERENCE and event.cpu_parent is None]
    spans = (span for number, mark in enumerate(marks) for span in _spans(mark, number, on_gpu=bool(gpu)))
    return operator_times(spans, len(counted))


def _spans(mark: FunctionEvent, inference: int, *, on_gpu: bool) -> Iterator[Span]:
    """Yield the operators of one call of the network: TorchScript's have no names, and so are counted by type."""
    seen = Counter[str]()
    for event in _operators(mark.cpu_children):
        seen[event.name] += 1
        took_us = event.device_time_total if on_gpu else event.cpu_time_total
        yield Span(
            name=f"{event.name} {seen[event.name]}",
            op_type=event.name,
            inference=inference,
            duration_ns=1000.0 * took_us,
        )


def _operators(events: Iterable[FunctionEvent]) -> Iterator[FunctionEvent]:
    """Yield the outermost operators: what is none, such as a module's `forward`, only holds others."""
    for event in sorted(events, key=lambda each: each.time_range.start):
        if "::" in event.name or not event.cpu_children:
            yield event
        else:
            yield from _operators(event.cpu_children)


def _gains(module: torch.jit.ScriptModule, options: Options) -> bool:
    """Say whether oneDNN's own layouts make a file faster: one in fp32 on a CPU that is not small."""
    if options.device != "cpu" or options.engine is not None or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch
        return False
    nodes = [node for node in module.inlined_graph.nodes() if node.kind() == "prim::Constant"]
    tensors = [node.t("value") for node in nodes if node.hasAttribute("value") and node.kindOf("value") == "t"]
    return sum(int(each.numel()) for each in tensors if each.dtype == torch.float32) >= LEAST_WEIGHTS


def _optimised(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Return the network with its weights laid out for this CPU; as it is where torch cannot."""
    try:
        with warnings.catch_warnings(action="ignore"):
            found: torch.jit.ScriptModule = torch.jit.optimize_for_inference(module.eval())
    except RuntimeError:
        return module
    return found


def _array(value: torch.Tensor) -> NDArray[np.generic]:
    if value.is_quantized:
        value = value.int_repr()
    # numpy has no bfloat16; each of them is a float32.
    plain: NDArray[np.generic] = (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()
    return plain


def _set_engine(path: Path, options: Options) -> None:
    """Set the quantization engine, which must be done before the file is loaded: its weights are packed for it then."""
    if options.engine is None:
        return
    supported = [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]
    if options.engine not in supported:
        raise RuntimeUnavailable(
            f"needs the quantization engine {options.engine!r}, and this torch ({torch.__version__}) has "
            f"{', '.join(supported) or 'none'}",
            where=path.name,
            advice="an artifact for another engine, or another build of torch",
        )
    torch.backends.quantized.engine = options.engine


def _provider(options: Options) -> str:
    return f"torch {options.engine or options.device}"
