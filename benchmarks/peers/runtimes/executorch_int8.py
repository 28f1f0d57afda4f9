"""ExecuTorch's static int8: PT2E with the XNNPACK quantizer, symmetric and per channel."""

import warnings

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e  # type: ignore[import-untyped]

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import executorch_fp32
from benchmarks.peers.runtimes.torch_network import calibration, example, network

load = executorch_fp32.load


def build(case: Case) -> None:
    """Calibrate, convert and export."""
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_pt2e(torch.export.export(network(case), (example(case),)).module(), quantizer)
        for batch in calibration(case):
            prepared(batch)
        executorch_fp32.write(torch.export.export(convert_pt2e(prepared), (example(case),)), case)
