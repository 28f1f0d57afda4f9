from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from packager import weights
from runner.errors import StepError, UsageError
from tests import disk


def _net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def _equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def _prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return OrderedDict((prefix + name, value) for name, value in state.items())


@pytest.mark.parametrize("wrapper", [None, "model_state_dict", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_state_dict_is_found_in_what_training_scripts_save(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    source, target = _net(), _net()
    state: dict[str, object] = dict(_prefixed(prefix, source.state_dict()))
    torch.save({"epoch": 3, wrapper: state} if wrapper else state, tmp_path / "net.pth")

    weights.load(tmp_path / "net.pth", target)

    assert _equal(source, target)


def test_a_model_that_has_a_part_called_module_keeps_it(tmp_path: Path) -> None:
    source, target = (nn.Sequential(OrderedDict(module=_net())) for _ in range(2))
    torch.save(source.state_dict(), tmp_path / "net.pt")

    weights.load(tmp_path / "net.pt", target)

    assert _equal(source, target)


def test_safetensors_are_read(tmp_path: Path) -> None:
    source, target = _net(), _net()
    save_file(source.state_dict(), tmp_path / "net.safetensors")

    weights.load(tmp_path / "net.safetensors", target)

    assert _equal(source, target)


def test_torchs_old_format_is_read(tmp_path: Path) -> None:
    source, target = _net(), _net()
    torch.save(source.state_dict(), tmp_path / "net.pth", _use_new_zipfile_serialization=False)

    weights.load(tmp_path / "net.pth", target)

    assert _equal(source, target)


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"model": nn.Linear(2, 2).state_dict(), "best": np.float64(0.5)}, "numpy._core.multiarray.scalar"),
    ],
)
def test_a_file_that_needs_pickle_is_refused_with_the_way_out(tmp_path: Path, content: object, needed: str) -> None:
    torch.save(content, tmp_path / "net.pth")

    with pytest.raises(StepError) as caught:
        weights.load(tmp_path / "net.pth", nn.Linear(2, 2))

    assert caught.value.what == (
        f"needs pickle for an object of {needed}; pickle can run any code, so the file is refused"
    )
    assert "torch.save(model.state_dict(), 'net.pth')" in caught.value.advice


def test_weights_of_another_architecture_are_refused_with_what_differs(tmp_path: Path) -> None:
    torch.save(_net().state_dict(), tmp_path / "net.pth")
    deeper = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))

    with pytest.raises(StepError) as caught:
        weights.load(tmp_path / "net.pth", deeper)

    assert caught.value.what == (
        "holds the weights of another architecture: "
        "2 missing: 2.weight, 2.bias; "
        "3 unexpected: 1.running_mean, 1.running_var, 1.num_batches_tracked; "
        "4 of another shape: 0.weight is 4 x 1 x 3 x 3 and should be 4 x 4, 1.weight is 4 and should be 4 x 4, "
        "3.weight is 2 x 4 and should be 4 x 4, 3.bias is 2 and should be 4"
    )


def test_no_more_than_five_names_are_listed(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "net.pth")

    with pytest.raises(StepError) as caught:
        weights.load(tmp_path / "net.pth", _net())

    assert caught.value.what == (
        "holds the weights of another architecture: "
        "9 missing: 0.weight, 0.bias, 1.weight, 1.bias, 1.running_mean, …; 1 unexpected: x"
    )


def test_a_refused_file_leaves_the_model_alone(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.save({"weight": torch.ones(2, 2), "bias": torch.ones(3)}, tmp_path / "net.pth")

    with pytest.raises(StepError):
        weights.load(tmp_path / "net.pth", module)

    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class Versioned(nn.Linear):
    """Asks, as torchvision's MNASNet does, by what version of itself its weights were written."""

    _version = 2

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, metadata: object, *rest: object) -> None:
        assert isinstance(metadata, dict)
        assert metadata["version"] == 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def test_a_module_that_asks_for_the_version_of_its_weights_gets_its_own(tmp_path: Path) -> None:
    source, target = Versioned(2, 2), Versioned(2, 2)
    weights.save(source, tmp_path / "net.safetensors")

    weights.load(tmp_path / "net.safetensors", target)

    assert _equal(source, target)


@pytest.mark.parametrize("old", [False, True])
def test_a_truncated_file_is_refused(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "net.pth"
    torch.save(_net().state_dict(), path, _use_new_zipfile_serialization=not old)
    path.write_bytes(path.read_bytes()[:-300])

    with pytest.raises(StepError, match=r"net\.pth: is damaged"):
        weights.load(path, _net())


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    module = nn.Linear(4, 2)
    with torch.no_grad():
        module.weight.fill_(1.5)
    torch.save(module.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[content.index(module.weight.detach().numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)

    with pytest.raises(StepError, match=r"is damaged: the checksum of .*/data/0 does not fit"):
        weights.load(path, module)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.pth", b"", "is damaged or no PyTorch checkpoint: EOFError"),
        ("net.pth", b"some text that is long enough to be looked at", "is damaged or no PyTorch checkpoint: "),
        ("net.safetensors", b"abc", "is damaged or no safetensors file: "),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(StepError) as caught:
        weights.load(tmp_path / name, nn.Linear(2, 2))

    assert caught.value.what.startswith(message)


def test_a_torchscript_file_is_refused_by_kind(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "net.pt"))  # type: ignore[no-untyped-call]

    with pytest.raises(StepError, match="is a TorchScript archive, not a checkpoint"):
        weights.load(tmp_path / "net.pt", nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "loss": 0.5}, "holds no weights by name, but keys epoch, loss"),
        (torch.zeros(3), "holds no weights by name, but a Tensor"),
        ({}, "holds no weights by name, but keys "),
    ],
)
def test_a_checkpoint_without_weights_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "net.pth")

    with pytest.raises(StepError) as caught:
        weights.load(tmp_path / "net.pth", nn.Linear(2, 2))

    assert caught.value.what == message


def test_a_missing_file_and_a_file_of_another_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.pth: there is no such file"):
        weights.load(tmp_path / "gone.pth", nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"net\.onnx: expected a \.pth, \.pt, \.safetensors file"):
        weights.load(tmp_path / "net.onnx", nn.Linear(2, 2))


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    source, target = _net(), _net()
    source.to(memory_format=torch.channels_last)

    weights.save(source, tmp_path / "net.safetensors")
    weights.load(tmp_path / "net.safetensors", target)

    assert _equal(source, target)
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_weight_that_two_layers_share_is_saved_under_both_names(tmp_path: Path) -> None:
    source, target = (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2))
    source[1].weight = source[0].weight

    weights.save(source, tmp_path / "net.safetensors")
    weights.load(tmp_path / "net.safetensors", target)

    assert _equal(source, target)


def test_a_full_disk_leaves_the_weights_that_were_there(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    weights.save(nn.Linear(2, 2), path)
    before = path.read_bytes()

    with disk.small(1000), pytest.raises(StepError) as caught:
        weights.save(nn.Linear(100, 100), path)

    assert str(caught.value) == (
        f"{path}: cannot be written: File too large\n  try: free some space, or name another place"
    )
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"net\.safetensors: cannot be written: No such file or directory"):
        weights.save(_net(), tmp_path / "gone" / "net.safetensors")


def test_a_place_that_weights_cannot_go_to_is_refused_before_the_training(tmp_path: Path) -> None:
    weights.check_destination(tmp_path / "net.safetensors")

    with pytest.raises(UsageError) as caught:
        weights.check_destination(tmp_path / "net.pth")
    assert str(caught.value) == (
        f"{tmp_path}/net.pth: expected a .safetensors file\n  try: --save-weights {tmp_path}/net.safetensors"
    )
    with pytest.raises(UsageError) as caught:
        weights.check_destination(tmp_path / "gone" / "net.safetensors")
    assert str(caught.value) == (
        f"{tmp_path}/gone/net.safetensors: cannot be written: there is no folder {tmp_path}/gone\n"
        "  try: another place with --save-weights"
    )
