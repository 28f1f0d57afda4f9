"""The one file in which an OpenVINO network travels: a ZIP file of its weights and of its graph.

The container is that of a bundle (`runner.archive`): stored members, every byte of their headers given. The weights
come first, and are mapped into memory where they lie. The graph is XML, of which a small network has more than of
weights, and is deflated by itself.
"""

import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner import archive
from runner.archive import MalformedError

# Ten letters: behind a header of 30 bytes the weights begin at a multiple of eight, which is what numbers want.
WEIGHTS = "weight.bin"
GRAPH = "model.xml.z"
MOST_GRAPH_BYTES = 256 << 20
"""Of XML: beyond any network, and what a damaged file may take of the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """A graph and its weights, as OpenVINO reads them."""

    graph: bytes
    weights: NDArray[np.uint8]
    """Copied when written to, so that the file stays as it is."""


def written(graph: bytes, weights: bytes) -> bytes:
    """Return the file of a graph in XML and its weights."""
    file, members = BytesIO(), list[archive.Member]()
    for name, content in ((WEIGHTS, weights), (GRAPH, zlib.compress(graph, 9))):
        it = archive.member(name, len(content), zlib.crc32(content), start=file.tell())
        file.write(archive.local_header(it) + content)
        members.append(it)
    file.write(archive.directory(members))
    return file.getvalue()


def read(path: Path) -> Parts:
    """Return what is in a file, the weights mapped into memory. Raises MalformedError."""
    with path.open("rb") as file:
        places = {it.name: it for it in archive.read(file)}
        if set(places) != {WEIGHTS, GRAPH}:
            raise MalformedError(f"it has no {' or no '.join(sorted({WEIGHTS, GRAPH} - set(places)))}")
        file.seek(places[GRAPH].offset)
        graph = _inflated(file.read(places[GRAPH].size_bytes))
    place = places[WEIGHTS]
    if not place.size_bytes:
        return Parts(graph=graph, weights=np.empty(0, np.uint8))
    weights = np.memmap(path, dtype=np.uint8, mode="c", offset=place.offset, shape=(place.size_bytes,))
    return Parts(graph=graph, weights=weights)


def _inflated(content: bytes) -> bytes:
    inflating = zlib.decompressobj()
    try:
        graph = inflating.decompress(content, MOST_GRAPH_BYTES)
    except zlib.error as error:
        raise MalformedError(f"{GRAPH}: {error}") from None
    if not inflating.eof:
        raise MalformedError(f"{GRAPH}: was cut short, or is larger than any graph")
    return graph
