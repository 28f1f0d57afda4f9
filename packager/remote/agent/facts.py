"""What has to be known of the board before anything is copied to it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from packager.remote.agent.place import cache_folder

PACKAGES = ("ai_edge_litert", "executorch", "numpy", "onnxruntime", "openvino", "psutil", "torch")


def facts() -> dict[str, Any]:
    """Return what has to be known before anything is copied here."""
    found = {}
    for name in PACKAGES:
        if importlib.util.find_spec(name):
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = "unknown"
    return {
        "machine": platform.machine(),
        "bits": 64 if sys.maxsize > 1 << 32 else 32,
        "python": platform.python_version(),
        "executable": sys.executable,
        "libc": " ".join(part for part in platform.libc_ver() if part),
        "system": _system(),
        "cache": str(cache_folder()),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "free_bytes": _free_bytes(cache_folder()),
        "packages": found,
        "in_venv": sys.prefix != sys.base_prefix,
        "has_pip": importlib.util.find_spec("pip") is not None,
        "has_ensurepip": importlib.util.find_spec("ensurepip") is not None,
        "externally_managed": _externally_managed(),
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "") or platform.platform()
    except OSError:
        return platform.platform()


def _externally_managed() -> bool:
    """Tell whether pip refuses to install into this Python (PEP 668)."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and marker.exists()


def _free_bytes(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
