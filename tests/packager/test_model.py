import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import models
import packager
import runner
from packager import model, project, recipe
from packager.data import Samples, Splits
from packager.onnx_model import OnnxModel
from runner.errors import StepError, UsageError
from runner.manifest import Preprocess
from tests import networks

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.linear(torch.flatten(x, 1))
"""


@pytest.fixture(autouse=True)
def _clean_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    yield
    for name in project._users:
        sys.modules.pop(name, None)
    project._users.clear()


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _load(
    name: str, *, channels: int = 1, side: int = 8, classes: int = 3, weights: str | None = None
) -> model.LoadedModel:
    splits = _splits(channels=channels, side=side, classes=classes)
    return model.load(recipe.Model(name=name, weights=weights), splits, seed=0)


def _splits(*, channels: int = 1, side: int = 8, classes: int = 3) -> Splits:
    """Return data of which a model looks at nothing but the shape and the classes."""
    none = Samples.whole(np.zeros((0, channels, side, side), np.uint8), np.zeros(0, np.int64))
    preprocess = Preprocess(
        channels=channels, height=side, width=side, scale=1 / 255, mean=(0.5,), std=(0.5,), resize="none"
    )
    return Splits(
        train=none,
        validation=none,
        calibration=none,
        evaluation=none,
        classes=tuple(str(label) for label in range(classes)),
        preprocess=preprocess,
        sha256="",
    )


def _source(name: str, files: dict[str, str], root: Path) -> str:
    _write(root, files)
    return _load(name).sha256


def test_our_own_models_follow_the_data_and_the_seed() -> None:
    one, two = (_load("resnet8", channels=3, side=32, classes=10) for _ in range(2))

    assert one.name == "resnet8"
    assert not one.module.training
    assert one.module(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert one.sha256 == two.sha256
    assert one.sha256 != _load("resnet8", channels=3, side=32, classes=11).sha256


def test_another_seed_gives_other_weights() -> None:
    digests = {model.load(recipe.Model(), _splits(), seed=seed).sha256 for seed in (0, 1, 0)}

    assert len(digests) == 2


def test_torchvisions_models_have_names_fit_for_files() -> None:
    assert _load("torchvision:squeezenet1_1", channels=1, side=32).name == "torchvision-squeezenet1_1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet9", "resnet9: there is no model of this name\n  try: did you mean 'resnet8'?"),
        (
            "torchvision:resnet19",
            "torchvision:resnet19: torchvision has no classifier 'resnet19'\n  try: did you mean 'resnet18'?",
        ),
        ("net.py", "net.py: expected FILE.py:CALLABLE\n  try: name the class or function, as in net.py:Net"),
        ("gone/net.py:Net", "gone/net.py: there is no such file"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        _load(name)

    assert str(caught.value) == message


def test_a_model_that_cannot_take_the_images_is_refused_with_their_size() -> None:
    with pytest.raises(StepError) as caught:
        _load("torchvision:alexnet", channels=3, side=28)

    assert caught.value.what.startswith("cannot take images of 3 x 28 x 28: RuntimeError: ")
    assert caught.value.advice == "choose another image size, such as --image-size 224, or another model"


@pytest.mark.parametrize(("fixed", "images"), [(3, 1), (1, 3)])
def test_a_model_for_other_channels_is_refused_with_advice_about_channels(
    tmp_path: Path, fixed: int, images: int
) -> None:
    _write(tmp_path, {"net.py": NET.replace("nn.Linear(64, num_classes)", f"nn.Conv2d({fixed}, num_classes, 3)")})
    (tmp_path / "net.py").write_text((tmp_path / "net.py").read_text().replace("torch.flatten(x, 1)", "x"))

    with pytest.raises(StepError) as caught:
        _load("net.py:Net", channels=images)

    assert caught.value.what.startswith(f"cannot take images of {images} x 8 x 8: RuntimeError: Given groups=1")
    assert caught.value.advice == (
        f"images of {fixed} channels, or a model that takes {images}: "
        "a parameter in_channels gets the number of channels of the data"
    )


def test_channels_that_do_not_fit_within_the_network_are_no_matter_of_the_images(tmp_path: Path) -> None:
    text = "from torch import nn\ndef net(): return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(5, 3, 3))"
    _write(tmp_path, {"net.py": text})

    with pytest.raises(StepError, match="to have 5 channels, but got 4") as caught:
        _load("net.py:net")

    assert "image size" in caught.value.advice


def test_an_onnx_file_is_a_model_with_weights_of_its_own(tmp_path: Path) -> None:
    networks.write_onnx(tmp_path / "my net.onnx")

    loaded = _load("my net.onnx")

    assert loaded.name == "my-net"
    assert isinstance(loaded.model, OnnxModel)
    assert loaded.sha256 == loaded.model.sha256
    with pytest.raises(StepError, match="exists only as an ONNX file"):
        _ = loaded.module


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("net.pth", "net.pth: net.onnx has weights of its own, and --weights names others\n  try: leave --weights out"),
        (None, "net.onnx: there is no such file\n  try: --model FILE.onnx"),
    ],
)
def test_an_onnx_file_that_is_not_there_or_has_other_weights_is_refused_before_data_are_read(
    weights: str | None, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        model.check(recipe.Model(name="net.onnx", weights=weights))

    assert str(caught.value) == message


def test_a_model_without_pretrained_weights_is_refused_before_data_are_read() -> None:
    with pytest.raises(UsageError, match="there are no pretrained weights of small_cnn"):
        model.check(recipe.Model(name="small_cnn", weights="pretrained"))


def test_a_users_model_gets_the_classes_and_channels_that_its_signature_names(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "net.py": NET
            + """
def make(in_channels, classes, *, width=2):
    return nn.Sequential(nn.Conv2d(in_channels, width, 8), nn.Flatten(), nn.Linear(width, classes))

def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

ready = plain()
"""
        },
    )

    assert _load("net.py:Net").name == "net-Net"
    assert _load(f"{tmp_path}/net.py:make", channels=5).module(torch.zeros(1, 5, 8, 8)).shape == (1, 3)
    assert _load("net.py:plain").module(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    assert _load("net.py:ready").module(torch.zeros(1, 1, 8, 8)).shape == (1, 3)


def test_a_users_weights_are_loaded(tmp_path: Path) -> None:
    _write(tmp_path, {"net.py": NET})
    bare = _load("net.py:Net")
    torch.save({"linear.weight": torch.full((3, 64), 0.25), "linear.bias": torch.zeros(3)}, tmp_path / "net.pth")

    loaded = _load("net.py:Net", weights="net.pth")

    assert loaded.module(torch.ones(1, 1, 8, 8)).tolist() == [[16.0, 16.0, 16.0]]
    assert loaded.sha256 != bare.sha256


@pytest.mark.parametrize("package", ["models", "runner", "targets", "packager", "utils"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_project_may_have_a_package_of_our_name(tmp_path: Path, package: str, marked: bool) -> None:
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] in project.OURS}
    files = {
        "net.py": f"from {package}.blocks import Net\nimport {package}.deep.part\nfrom {package} import blocks",
        f"{package}/blocks.py": NET,
        f"{package}/deep/part.py": "from ..blocks import Net",
    }
    _write(tmp_path, files | ({f"{package}/__init__.py": ""} if marked else {}))

    loaded = _load("net.py:Net")

    assert type(loaded.module).__module__ == f"{package}.blocks"
    assert loaded.module(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    after = {name: module for name, module in sys.modules.items() if name.split(".")[0] in project.OURS}
    assert after == ours
    assert sys.modules["models"] is models
    assert sys.modules["packager"] is packager
    assert sys.modules["runner"] is runner
    assert not any(isinstance(finder, project._ProjectFinder) for finder in sys.meta_path)
    assert _load("small_cnn").name == "small_cnn"


@pytest.mark.parametrize("name", ["models.py", "runner.py", "utils.py", "my-net 2.py"])
def test_the_users_file_itself_may_have_our_name(tmp_path: Path, name: str) -> None:
    _write(tmp_path, {name: NET})

    assert _load(f"{name}:Net").module(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    assert sys.modules["models"] is models
    assert sys.modules["runner"] is runner


def test_a_file_within_a_package_may_import_relatively(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "models/__init__.py": "",
            "models/net/__init__.py": "",
            "models/net/net.py": "from .part import Net\nfrom ..other import x\nimport beside",
            "models/net/part.py": NET,
            "models/net/beside.py": "",
            "models/other.py": "x = 1",
        },
    )

    assert _load("models/net/net.py:Net").name == "net-Net"
    assert sys.modules["models"] is models


def test_the_folder_of_the_call_is_searched_too(tmp_path: Path) -> None:
    _write(tmp_path, {"src/net.py": "from parts.blocks import Net", "parts/blocks.py": NET})

    assert _load("src/net.py:Net").name == "net-Net"


def test_two_projects_with_neighbours_of_one_name_do_not_mix(tmp_path: Path) -> None:
    for folder, units in (("a", 5), ("b", 7)):
        _write(
            tmp_path,
            {
                f"{folder}/net.py": "from width import build",
                f"{folder}/width.py": (
                    f"from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, {units}))"
                ),
            },
        )

    assert _load("a/net.py:build", classes=5).module(torch.zeros(1, 1, 8, 8)).shape == (1, 5)
    assert _load("b/net.py:build", classes=7).module(torch.zeros(1, 1, 8, 8)).shape == (1, 7)


def test_what_forward_imports_late_is_found(tmp_path: Path) -> None:
    lazy = NET.replace("        return", "        import late, early\n        assert early.x == 1\n        return")
    _write(tmp_path, {"net.py": "import early\n" + lazy, "late.py": "", "early.py": "x = 1"})

    assert _load("net.py:Net").module(torch.zeros(1, 1, 8, 8)).shape == (1, 3)


def test_what_the_call_imports_from_a_package_of_our_name_is_found_and_part_of_the_digest(tmp_path: Path) -> None:
    files = {
        "net.py": "def build(num_classes):\n    from models.blocks import Net\n    return Net(num_classes)",
        "models/blocks.py": NET,
    }

    first = _source("net.py:build", files, tmp_path)
    other = _source("net.py:build", files | {"models/blocks.py": NET + "# another text"}, tmp_path)

    assert first != other
    assert sys.modules["models"] is models


def test_what_forward_imports_late_from_a_package_of_our_name_is_refused_with_the_way_out(tmp_path: Path) -> None:
    lazy = NET.replace("        return", "        from models.late import x\n        return")
    _write(tmp_path, {"net.py": lazy, "models/late.py": "x = 1"})

    with pytest.raises(StepError) as caught:
        _load("net.py:Net")

    assert caught.value.what == ("cannot take images of 1 x 8 x 8: ModuleNotFoundError: No module named 'models.late'")
    assert caught.value.advice == "import at the top of the file, not within forward()"


def test_the_digest_follows_the_text_of_every_file_of_the_project(tmp_path: Path) -> None:
    files = {"net.py": "from blocks import Net", "blocks.py": NET, "unrelated.py": "1"}

    first = _source("net.py:Net", files, tmp_path)
    again = _source("net.py:Net", files | {"unrelated.py": "22"}, tmp_path)
    other = _source("net.py:Net", files | {"blocks.py": NET + "# as before, to Python"}, tmp_path)

    assert first == again
    assert first != other


def test_a_missing_class_is_told_with_the_nearest(tmp_path: Path) -> None:
    _write(tmp_path, {"net.py": NET})

    with pytest.raises(UsageError) as caught:
        _load("net.py:net")
    assert str(caught.value) == "net.py:net: has no class or function 'net'\n  try: did you mean 'Net'?"
    with pytest.raises(UsageError, match=r"try: it has Net$"):
        _load("net.py:Transformer")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("def Net(:\n", "importing it failed: SyntaxError: ", 1),
        ("import torch\nimport not_there", "importing it failed: ModuleNotFoundError: No module named 'not_there'", 2),
        ("raise SystemExit(3)", "importing it failed: SystemExit: 3", 1),
        ("def Net():\n    raise KeyError('a\\nb')", "calling Net() failed: KeyError: 'a\\nb'", 2),
        ("def Net(depth): pass", "calling Net() failed: TypeError: Net() missing 1 required positional argument", None),
        ("from inner import Net", "importing it failed: ZeroDivisionError: division by zero", 2),
    ],
)
def test_what_the_users_code_raises_is_told_in_a_line_with_its_place(
    tmp_path: Path, text: str, message: str, line: int | None
) -> None:
    _write(tmp_path, {"net.py": text, "inner.py": "x = 0\nNet = 1 / x"})

    with pytest.raises(StepError) as caught:
        _load("net.py:Net")

    assert caught.value.what.startswith(message)
    assert "\n" not in caught.value.what
    file = tmp_path / ("inner.py" if "inner" in text else "net.py")
    assert caught.value.where == (f"{file}:{line}" if line else "net.py")
    assert sys.modules["models"] is models


def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, {"net.py": "def Net(): return [1]"})

    with pytest.raises(UsageError, match=r"net\.py: Net\(\) returned a list, not a torch\.nn\.Module"):
        _load("net.py:Net")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("torch.zeros(2, 1000)", "forward() returns 2 x 1000 values for 2 images of 3 classes"),
        ("torch.zeros(3)", "forward() returns 3 values for 2 images of 3 classes"),
        ("(x, x)", "forward() returns a tuple, not a tensor of 2 x 3 logits for 2 images"),
    ],
)
def test_an_answer_of_the_wrong_shape_is_refused(tmp_path: Path, answer: str, message: str) -> None:
    text = f"import torch\nclass Net(torch.nn.Module):\n    def forward(self, x): return {answer}"
    _write(tmp_path, {"net.py": text})

    with pytest.raises(StepError) as caught:
        _load("net.py:Net")

    assert caught.value.what == message


def test_what_the_users_code_prints_stays_out_of_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, {"net.py": "print('hello')\n" + NET})

    assert isinstance(_load("net.py:Net").module, nn.Module)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hello\n"


def test_a_project_does_not_hide_the_folders_of_the_next(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "parts.py").write_text("WIDTH = 1\n", encoding="utf-8")
    (tmp_path / "one" / "net.py").write_text("from parts import WIDTH\n", encoding="utf-8")
    (tmp_path / "two" / "parts").mkdir()
    (tmp_path / "two" / "parts" / "sizes.py").write_text("WIDTH = 2\n", encoding="utf-8")
    (tmp_path / "two" / "net.py").write_text("from parts.sizes import WIDTH\n", encoding="utf-8")

    widths = []
    for name in ("one", "two"):
        with project.importing(tmp_path / name / "net.py") as imported:
            widths.append(imported.module.WIDTH)

    assert widths == [1, 2]
