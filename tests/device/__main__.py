"""Two boards to try things on: `python -m tests.device` says how to reach them, until Enter is pressed."""

import tempfile
import time
from pathlib import Path

from tests.device import machines
from tests.device.cores import PI4, PI5

started = time.monotonic()
machines.prepare()
print(f"downloaded or found: {time.monotonic() - started:.1f} s")
with tempfile.TemporaryDirectory() as name, machines.boards(Path(name), pi5=PI5, pi4=PI4) as boards:
    for board in boards:
        board.has("numpy", "onnxruntime", "psutil")
    print(f"both are on: {time.monotonic() - started:.1f} s")
    config = machines.write_config(Path(name, "config"), boards)
    print(f"ssh -F {config} pi5")
    print(f"ssh -F {config} pi4")
    input("Enter ends them. ")
