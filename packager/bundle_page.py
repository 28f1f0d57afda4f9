"""What a bundle is, as a person sees it: whose it is, what it was made with, and what lies in it."""

from collections.abc import Sequence

from runner.bundle import Bundle
from runner.render import units
from runner.render.page import Block, Page, Table, Title


def bundle_page(bundle: Bundle) -> Page:
    """Return a bundle's manifest as tables."""
    manifest, made = bundle.manifest, bundle.manifest.provenance
    shape = manifest.preprocess
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    commit = f", commit {made.git_commit[:12]}{' with changes' if made.git_dirty else ''}" if made.git_commit else ""
    rows = (
        ("bundle", bundle.id),
        ("target", f"{manifest.target.name}: {manifest.target.description}"),
        ("classes", f"{len(manifest.classes)}: {', '.join(manifest.classes[:10])}"),
        ("samples", f"{manifest.samples} of {shape.channels} x {shape.height} x {shape.width}"),
        ("resized", shape.resize),
        ("normalised", f"x * {shape.scale:.6g}, mean {_numbers(shape.mean)}, std {_numbers(shape.std)}"),
        ("made by", f"edgepack {made.edgepack}{commit}, Python {made.python} on {made.platform}"),
    )
    artifacts = tuple(
        (each.name, each.path, f"{bundle.ranges[each.path].size_bytes:,}", each.engine or units.NONE)
        for each in manifest.artifacts
    )
    blocks: list[Block] = [
        Title(text=manifest.name),
        Table(columns=("", ""), rows=rows, left=2),
        f"made with {versions}",
        Table(columns=("artifact", "entry", "bytes", "engine"), rows=artifacts, left=2),
    ]
    return tuple(blocks)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
