"""The two boards that stand for all: one whose core has the dot product of Armv8.2, and one whose core has not."""

from dataclasses import dataclass

PROCESSOR = """processor\t: {index}
BogoMIPS\t: 108.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: {revision}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """What makes a board's processor: its name for QEMU, and the text that Linux gives of it there."""

    model: str
    """The board, as the last line of /proc/cpuinfo names it."""
    qemu: str
    """What QEMU_CPU is set to."""
    features: str
    variant: str
    part: str
    revision: int
    processors: int = 4

    def cpuinfo(self) -> str:
        """Return what /proc/cpuinfo says on such a board."""
        blocks = (
            PROCESSOR.format(
                index=index, features=self.features, variant=self.variant, part=self.part, revision=self.revision
            )
            for index in range(self.processors)
        )
        return "\n".join((*blocks, f"Model\t\t: {self.model}\n"))


PI5 = Core(
    model="Raspberry Pi 5 Model B Rev 1.0",
    qemu="cortex-a76",
    features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    variant="0x4",
    part="0xd0b",
    revision=1,
)
PI4 = Core(
    model="Raspberry Pi 4 Model B Rev 1.4",
    qemu="cortex-a72",
    features="fp asimd evtstrm crc32 cpuid",
    variant="0x0",
    part="0xd08",
    revision=3,
)
