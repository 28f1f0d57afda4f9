"""PyTorch's FX graph mode: static int8 by the default settings of engine x86, as a TorchScript file."""

import warnings

import torch
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.torch_network import calibration, example, loaded, network
from benchmarks.peers.runtimes.torchscript_fp32 import load_file, save

ENGINE = "x86"


def build(case: Case) -> None:
    """Calibrate, convert and trace."""
    torch.backends.quantized.engine = ENGINE
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_fx(network(case), get_default_qconfig_mapping(ENGINE), (example(case),))
        for batch in calibration(case):
            prepared(batch)
        save(convert_fx(prepared), case)


def load(case: Case) -> Loaded:
    """Return the file. It is frozen; what optimises fp32 for inference has nothing to do here."""
    torch.set_num_threads(case.threads)
    torch.backends.quantized.engine = ENGINE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = load_file(case)
    return loaded(torch.inference_mode()(module))
