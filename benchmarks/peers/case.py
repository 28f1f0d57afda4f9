"""What is measured: one network, one batch, and the files that all contenders get alike."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Of a subject's folder.
WEIGHTS, NETWORK = "weights.safetensors", "network.json"
CALIBRATION, INPUTS, REFERENCE = "calibration.npy", "inputs.npy", "reference.npy"
BUNDLE, PACK_LOG = "network.edgepack", "pack.log"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One network in one batch, as every contender gets it. Plain: other environments have no more than numpy."""

    model: str
    """A name of `models.build`."""
    shape: tuple[int, int, int]
    """Channels, height and width of a sample."""
    classes: int
    batch: int
    threads: int
    subject: Path
    """The folder of the weights, the calibration samples, the inputs and fp32's answers."""
    folder: Path
    """Of one contender alone, for what it builds."""

    @property
    def example_shape(self) -> tuple[int, int, int, int]:
        """The shape of one call's inputs."""
        return (self.batch, *self.shape)

    def array(self, name: str) -> "NDArray[np.float32]":
        """Map an array of the subject into memory."""
        import numpy as np  # noqa: PLC0415 - the types here serve those who have none as well

        values: NDArray[np.float32] = np.load(self.subject / name, mmap_mode="r")
        return values

    def batches(self, name: str) -> "list[NDArray[np.float32]]":
        """Return an array of the subject in whole batches, at least one: samples are repeated where they are few."""
        import numpy as np  # noqa: PLC0415 - as above

        values = self.array(name)
        count = max(1, len(values) // self.batch)
        filled = np.resize(values, (count * self.batch, *values.shape[1:]))
        return [np.ascontiguousarray(part) for part in filled.reshape(count, self.batch, *values.shape[1:])]


def encode(case: Case) -> str:
    """Return a case as JSON."""
    return json.dumps(asdict(case), default=str)


def decode(text: str) -> Case:
    """Build a case from its JSON."""
    data = json.loads(text)
    channels, height, width = data["shape"]
    return Case(
        model=data["model"],
        shape=(channels, height, width),
        classes=data["classes"],
        batch=data["batch"],
        threads=data["threads"],
        subject=Path(data["subject"]),
        folder=Path(data["folder"]),
    )
