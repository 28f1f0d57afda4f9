"""Every classifier family of torchvision packs for x86 and ARM, from random weights, by at least the ONNX road."""

from dataclasses import replace
from pathlib import Path

import pytest

import targets
from packager import making, prepared, recipe, recipe_file
from packager.branches import Branch
from packager.cache import Cache
from packager.origin import origin
from runner.logits import snr_db
from runner.manifest import Target
from runner.progress import Silent

FAMILIES = recipe_file.load("families")
LEAST_SNR_DB = 20.0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FAMILIES.models)
def test_a_family_packs_for_x86_and_arm_and_int8_agrees_with_fp32(name: str, tmp_path: Path) -> None:
    plan = replace(FAMILIES, models=(), model=recipe.Model(name=name))
    start = origin(plan, Cache(folder=tmp_path), Silent())
    shared = prepared.prepare(start, tmp_path)
    for target in (targets.load("x86"), targets.load("arm-qnnpack")):
        made, left_out = making.make(target, shared)
        found = {each.built.artifact.name: each.given.logits for each in made}
        noise = snr_db(found["int8.onnx"], _only(shared.branches).reference)
        assert noise is not None
        assert noise >= LEAST_SNR_DB
        assert found.keys() | {each.name for each in left_out} == _asked(target)
        assert all(each.what for each in left_out)


def _only(branches: tuple[Branch, ...]) -> Branch:
    (branch,) = branches
    return branch


def _asked(target: Target) -> set[str]:
    return {candidate.name for candidate in target.artifacts}
