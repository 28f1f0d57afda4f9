"""A board's Python as installers see it: which wheels fit, and what the conditions of requirements mean there."""

from dataclasses import dataclass
from typing import Final

OLDEST_GLIBC: Final = {"x86_64": 5}
"""The oldest 2.x that there are wheels for; elsewhere 17."""
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""What wheels for a glibc 2.x were called before PEP 600."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardPython:
    """A CPython on Linux with glibc."""

    machine: str
    """As uname has it."""
    version: str
    """All of it, such as 3.11.2."""
    glibc: tuple[int, int]

    @property
    def name(self) -> str:
        """What folders of wheels for such boards are called."""
        return f"{self.machine}-py{self.minor}-glibc{self.glibc[0]}.{self.glibc[1]}"

    @property
    def minor(self) -> str:
        """The version as far as wheels go by it, such as 3.11."""
        return ".".join(self.version.split(".")[:2])

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags of wheels that fit, best first (PEP 600)."""
        major, minor = self.glibc
        found = []
        for each in range(minor, OLDEST_GLIBC.get(self.machine, 17) - 1, -1):
            found.append(f"manylinux_{major}_{each}_{self.machine}")
            if each in LEGACY:
                found.append(f"{LEGACY[each]}_{self.machine}")
        return (*found, f"linux_{self.machine}")

    def markers(self, extra: str = "") -> dict[str, str]:
        """Return what the conditions of requirements are judged by (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.version,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.version,
            "python_version": self.minor,
            "sys_platform": "linux",
            "extra": extra,
        }
