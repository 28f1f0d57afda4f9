"""What the firmware of a Raspberry Pi says when it is asked."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from runner.device.files import read_text

PROGRAMS = ("usr/bin/vcgencmd", "opt/vc/bin/vcgencmd")
ANSWER_S = 2.0
THROTTLED_FILES = ("sys/devices/platform/*firmware/get_throttled", "sys/devices/platform/*/*firmware/get_throttled")
THROTTLED = re.compile(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})")
"""`throttled=0x50005` is what vcgencmd prints; the file in /sys has a bare `50005`, which is hexadecimal too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Firmware:
    """Where a Raspberry Pi's firmware is asked; other machines have neither program nor file."""

    program: Path | None
    """vcgencmd."""
    throttled_files: tuple[Path, ...]

    def throttled(self) -> int | None:
        """Return the bits that tell of slowing down: 0-3 now, 16-19 since boot."""
        # The program comes first, for the file is a copy that may be old.
        asked = throttled_bits(self.ask("get_throttled"))
        copies = (throttled_bits(read_text(path)) for path in self.throttled_files)
        return asked if asked is not None else next((bits for bits in copies if bits is not None), None)

    def ask(self, question: str) -> str | None:
        """Return the program's answer."""
        if self.program is None:
            return None
        try:
            answer = subprocess.run([self.program, question], capture_output=True, timeout=ANSWER_S, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.decode(errors="replace").strip()


def find_firmware(root: Path) -> Firmware:
    """Look for the firmware's program and files."""
    return Firmware(
        program=next((path for name in PROGRAMS if (path := root / name).exists()), None),
        throttled_files=tuple(path for pattern in THROTTLED_FILES for path in sorted(root.glob(pattern))),
    )


def throttled_bits(text: str | None) -> int | None:
    """Return the bits that a text tells, with or without `throttled=` and `0x`."""
    found = THROTTLED.fullmatch((text or "").strip())
    return int(found[1], 16) if found else None
