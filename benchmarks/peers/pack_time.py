"""How long `pack` takes for ResNet-18 at 224 without training, with all candidates: the goal is 120 s.

    python -m benchmarks.peers.pack_time [--family resnet18] [--candidates all] [-o out/peers]

Nothing is taken from the cache, and the figures of the host are part of it (effort quick).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers import subject
from benchmarks.peers.case import BUNDLE, NETWORK

MOST_S = 120.0


def main() -> None:
    """Print the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="resnet18")
    parser.add_argument("--candidates", default="all")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/peers"))
    chosen = parser.parse_args()
    folder = chosen.output / f"{chosen.family}-pack"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / NETWORK).exists():
        subject.write(chosen.family, folder)
    began = time.monotonic()
    done = subprocess.run((*subject.pack_command(folder, chosen.candidates), "--no-cache"), check=False)
    took_s = time.monotonic() - began
    if done.returncode:
        sys.exit(f"pack ended with {done.returncode}")
    size = (folder / BUNDLE).stat().st_size / 1e6
    verdict = "reached" if took_s <= MOST_S else "missed"
    print(f"pack of {chosen.family}: {took_s:.0f} s, {size:.0f} MB; at most {MOST_S:.0f} s: {verdict}")


if __name__ == "__main__":
    main()
