"""What psutil tells, where it is installed, of machines that have no /proc."""

import platform


def memory_bytes() -> int | None:
    """Return how much memory the machine has, or None where psutil is needed for that and missing."""
    if platform.system() == "Linux":
        return None
    try:
        import psutil  # noqa: PLC0415 - a bundle runs without it
    except ImportError:
        return None
    return int(psutil.virtual_memory().total)


def cpus() -> int | None:
    """Return how many CPUs the machine has, as above."""
    if platform.system() == "Linux":
        return None
    try:
        import psutil  # noqa: PLC0415 - as above
    except ImportError:
        return None
    return psutil.cpu_count() or None
