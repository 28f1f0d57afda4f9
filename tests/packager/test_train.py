"""Real small trainings: what they learn, what they leave alone, and how they go on after an interruption."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import models
from packager import recipe
from packager.data import Samples, Splits
from packager.distillation import Teacher
from packager.prune import l1
from packager.train import Job, Trained, compute_device, evaluate, logits, train
from runner.errors import StepError
from runner.manifest import Preprocess
from runner.packing import Epoch, Stage
from runner.progress import Silent
from tests.fakes import InterruptingProgress, RecordingProgress

PLAN = recipe.Train(epochs=3, batch_size=40, compute="cpu")
STEPS = 9
"""Of one epoch: 360 images."""
STILL = replace(
    PLAN, epochs=1, optimizer="sgd", learning_rate=1e-12, weight_decay=0.0, augment="none", arithmetic="fp32"
)
"""So small a rate that the weights are those of the start."""
BARE = Preprocess(channels=1, height=1, width=1, scale=1.0, mean=(0.0,), std=(1.0,), resize="none")


class Small(nn.Module):
    """One of each kind of state that a training has: weights, batch-norm statistics, random numbers of dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(4 * 13 * 13, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        logits: Tensor = self.linear(self.dropout(torch.flatten(torch.relu(self.norm(self.conv(x))), 1)))
        return logits


def small() -> nn.Module:
    """Return the same small network each time."""
    torch.manual_seed(0)
    return Small().eval()


def numbered(count: int, labels: list[int] | None = None) -> Samples:
    """Return samples of one pixel: 0, 1, 2 …"""
    base = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    return Samples.whole(base, np.array(labels or [0, 1] * (count // 2), np.int64))


def tiny_splits(train_count: int) -> Splits:
    """Return splits of numbered samples in two classes."""
    few = numbered(10)
    train_samples = numbered(train_count)
    return Splits(
        train=train_samples,
        validation=few,
        calibration=few,
        evaluation=few,
        classes=("even", "odd"),
        preprocess=BARE,
        sha256="0" * 64,
    )


def tiny() -> nn.Module:
    """Return a linear network for one pixel and two classes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(1, 2)).eval()


def watched(batches: list[list[int]]) -> nn.Module:
    """Return a tiny network that notes the samples of each batch that it is trained on."""

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training:
            batches.append([int(value) for value in inputs[0].flatten()])

    module = tiny()
    module.register_forward_pre_hook(note)
    return module


def same(one: nn.Module, two: nn.Module) -> bool:
    """Tell whether two networks have the same weights and statistics, bit for bit."""
    ones, twos = one.state_dict(), two.state_dict()
    return ones.keys() == twos.keys() and all(torch.equal(value, twos[name]) for name, value in ones.items())


def timeless(trained: Trained) -> list[Epoch]:
    """Return the epochs without what differs from run to run."""
    return [replace(epoch, duration_s=0.0) for epoch in trained.epochs]


def test_training_learns_well_above_chance(few_splits: Splits) -> None:
    torch.manual_seed(0)
    module = models.build("small_cnn", 1, 4, 28, 28).eval()

    trained = train(module, Job(plan=PLAN, splits=few_splits, seed=0), Silent())

    best = max(epoch.validation_accuracy for epoch in trained.epochs)
    loss, accuracy = evaluate(trained.module, few_splits.validation, few_splits.preprocess)
    assert best > 0.7
    assert accuracy == best
    assert loss in [epoch.validation_loss for epoch in trained.epochs]
    assert [(epoch.stage, epoch.epoch) for epoch in trained.epochs] == [("train", 1), ("train", 2), ("train", 3)]
    assert trained.epochs[2].train_loss < trained.epochs[0].train_loss
    assert not trained.module.training


def test_the_network_that_is_given_stays_as_it_is(few_splits: Splits) -> None:
    module = small()
    trained = train(module, Job(plan=PLAN, splits=few_splits, seed=0), Silent())

    assert same(module, small())
    assert not module.training
    assert not same(module, trained.module)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_weights_of_the_best_epoch_are_returned_and_not_the_last(few_splits: Splits) -> None:
    plan = replace(PLAN, schedule="plateau")
    early = train(small(), Job(plan=replace(plan, epochs=1), splits=few_splits, seed=0), Silent())
    answers = logits(early.module, few_splits.validation, few_splits.preprocess).argmax(1).numpy()
    # What the network says after one epoch becomes the truth: no later epoch can agree with it more.
    agreed = replace(few_splits.validation, labels=answers)

    trained = train(small(), Job(plan=plan, splits=replace(few_splits, validation=agreed), seed=0), Silent())

    assert trained.epochs[0].validation_accuracy == 1.0
    assert trained.epochs[2].validation_accuracy < 1.0
    assert same(trained.module, early.module)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["one-cycle", "plateau"])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    optimizer: recipe.Optimizer, schedule: recipe.Schedule, few_splits: Splits, tmp_path: Path
) -> None:
    plan = replace(PLAN, epochs=4, optimizer=optimizer, schedule=schedule, augment="shift-flip")
    job = Job(plan=plan, splits=few_splits, seed=3)
    whole = train(small(), job, Silent())
    kept = replace(job, checkpoint=tmp_path / "checkpoint.pt")

    with pytest.raises(KeyboardInterrupt):
        train(small(), kept, InterruptingProgress(after=2 * STEPS + 4))
    progress = RecordingProgress()
    resumed = train(small(), kept, progress)

    assert same(resumed.module, whole.module)
    assert timeless(resumed) == timeless(whole)
    assert progress.tasks == [("train 4 epochs", 4 * STEPS, 4 * STEPS)]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_resumed_training_does_not_train_the_finished_epochs_again(tmp_path: Path) -> None:
    batches: list[list[int]] = []
    plan = replace(PLAN, batch_size=10, augment="none")
    job = Job(plan=plan, splits=tiny_splits(20), seed=0, checkpoint=tmp_path / "checkpoint.pt")
    with pytest.raises(KeyboardInterrupt):
        train(watched(batches), job, InterruptingProgress(after=5))
    interrupted = len(batches)
    batches.clear()

    train(watched(batches), job, Silent())

    assert (interrupted, len(batches)) == (5, 2)


def test_an_interruption_in_the_first_epoch_leaves_no_checkpoint(few_splits: Splits, tmp_path: Path) -> None:
    job = Job(plan=PLAN, splits=few_splits, seed=0, checkpoint=tmp_path / "checkpoint.pt")
    with pytest.raises(KeyboardInterrupt):
        train(small(), job, InterruptingProgress(after=4))

    assert list(tmp_path.iterdir()) == []
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: b"not a checkpoint",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :],
    ],
    ids=["empty", "junk", "truncated", "one flipped bit"],
)
def test_a_damaged_checkpoint_is_said_and_training_starts_anew(
    damage: Callable[[bytes], bytes], few_splits: Splits, tmp_path: Path
) -> None:
    job = Job(plan=replace(PLAN, epochs=2), splits=few_splits, seed=0)
    kept = replace(job, checkpoint=tmp_path / "checkpoint.pt")
    assert kept.checkpoint is not None
    with pytest.raises(KeyboardInterrupt):
        train(small(), kept, InterruptingProgress(after=STEPS + 1))
    kept.checkpoint.write_bytes(damage(kept.checkpoint.read_bytes()))
    progress = RecordingProgress()

    trained = train(small(), kept, progress)

    assert progress.said == ["note: checkpoint.pt of an interrupted training is damaged: training starts anew"]
    assert same(trained.module, train(small(), job, Silent()).module)


def test_the_seed_decides_the_weights(few_splits: Splits) -> None:
    job = Job(plan=replace(PLAN, epochs=1), splits=few_splits, seed=0)
    one = train(small(), job, Silent()).module
    torch.manual_seed(99)  # what ran before decides nothing
    again = train(small(), job, Silent()).module
    other = train(small(), replace(job, seed=1), Silent()).module

    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_pruned_weights_stay_zero_through_fine_tuning(optimizer: recipe.Optimizer, few_splits: Splits) -> None:
    module = small()
    masks = l1.masks(module, recipe.Prune(amount=0.75))
    with torch.no_grad():
        for name, mask in masks.items():
            module.get_parameter(name).mul_(mask)

    plan = replace(PLAN, optimizer=optimizer)
    trained = train(module, Job(plan=plan, splits=few_splits, seed=0, stage="prune", masks=masks), Silent())

    assert masks.keys() == {"conv.weight", "linear.weight"}
    for name, mask in masks.items():
        assert torch.equal(trained.module.get_parameter(name) != 0, mask.bool())
        assert not torch.equal(trained.module.get_parameter(name), module.get_parameter(name))
    assert {epoch.stage for epoch in trained.epochs} == {"prune"}


@pytest.mark.parametrize(
    ("stage", "advice"),
    [
        ("train", "a lower learning rate: --learning-rate, or `learning_rate` in the recipe's [train]"),
        ("prune", "a lower learning rate: `fine_tune_learning_rate` in the recipe's [prune]"),
        ("qat", "a lower learning rate: `learning_rate` in the recipe's [quantize.qat]"),
    ],
)
def test_a_loss_that_diverges_is_told_with_the_rate_to_lower(stage: Stage, advice: str, few_splits: Splits) -> None:
    plan = replace(PLAN, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(StepError) as caught:
        train(small(), Job(plan=plan, splits=few_splits, seed=0, stage=stage), Silent())

    assert str(caught.value) == f"the loss is nan after epoch 1\n  try: {advice}"


def test_a_network_that_answers_nan_to_validation_images_is_told_apart() -> None:
    class OnlyInTraining(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def forward(self, x: Tensor) -> Tensor:
            answers: Tensor = self.linear(x.flatten(1)) / float(self.training or "nan")
            return answers

    plan = replace(PLAN, augment="none", learning_rate=1e-3)
    with pytest.raises(StepError, match=r"^the validation loss is nan after epoch 1\n"):
        train(OnlyInTraining(), Job(plan=plan, splits=tiny_splits(40), seed=0), Silent())


def test_a_network_without_parameters_cannot_be_trained(few_splits: Splits) -> None:
    with pytest.raises(StepError) as caught:
        train(nn.Flatten(), Job(plan=PLAN, splits=few_splits, seed=0), Silent())

    assert str(caught.value) == "the model has no parameters to train\n  try: no training: --epochs 0"


def test_no_epochs_change_nothing_and_need_no_parameters(few_splits: Splits) -> None:
    job = Job(plan=replace(PLAN, epochs=0, compute="cuda"), splits=few_splits, seed=0)
    untouched = train(small().train(), job, Silent())

    assert same(untouched.module, small())
    assert (untouched.module.training, untouched.epochs) == (False, ())
    assert train(nn.Flatten(), job, Silent()).epochs == ()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_is_asked_for_and_absent(few_splits: Splits) -> None:
    with pytest.raises(StepError) as caught:
        train(small(), Job(plan=replace(PLAN, compute="cuda"), splits=few_splits, seed=0), Silent())

    assert str(caught.value) == "CUDA is asked for, and this machine has none\n  try: --compute cpu"
    assert [compute_device("auto").type, compute_device("cpu").type] == ["cpu", "cpu"]


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    batches: list[list[int]] = []
    plan = replace(PLAN, batch_size=64, augment="none")
    progress = RecordingProgress()
    train(watched(batches), Job(plan=plan, splits=tiny_splits(20), seed=0), progress)

    assert batches == [list(range(20))] * 3
    assert progress.tasks == [("train 3 epochs", 3, 3)]


def test_an_incomplete_last_batch_is_left_out_of_this_epoch_alone() -> None:
    batches: list[list[int]] = []
    plan = replace(PLAN, epochs=4, batch_size=32, augment="none")
    train(watched(batches), Job(plan=plan, splits=tiny_splits(70), seed=0), Silent())

    epochs = [first + second for first, second in zip(batches[::2], batches[1::2], strict=True)]
    assert [len(batch) for batch in batches] == [32] * 8
    assert all(len(set(epoch)) == 64 for epoch in epochs)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 4
    assert set().union(*epochs) == set(range(70))


def test_label_smoothing_is_in_the_training_loss_alone() -> None:
    module, splits = tiny(), tiny_splits(20)
    plan = replace(STILL, label_smoothing=0.3)
    (epoch,) = train(module, Job(plan=plan, splits=splits, seed=0), Silent()).epochs

    def loss(samples: Samples, smoothing: float) -> float:
        scores = functional.log_softmax(logits(module, samples, BARE), 1).double().numpy()
        right = scores[np.arange(len(samples)), samples.labels]
        return float(-((1 - smoothing) * right + smoothing * scores.mean(1)).mean())

    assert epoch.train_loss == pytest.approx(loss(splits.train, 0.3), rel=1e-5)
    assert epoch.validation_loss == pytest.approx(loss(splits.validation, 0.0), rel=1e-5)
    assert abs(loss(splits.train, 0.3) - loss(splits.train, 0.0)) > 0.01


def test_one_cycle_starts_at_a_twenty_fifth_of_its_highest_rate() -> None:
    plan = replace(PLAN, epochs=10, batch_size=10, learning_rate=0.1, augment="none")
    epochs = train(tiny(), Job(plan=plan, splits=tiny_splits(20), seed=0), Silent()).epochs

    rates = [epoch.learning_rate for epoch in epochs]
    assert rates[0] == pytest.approx(0.004)
    assert max(rates) == pytest.approx(0.1, rel=0.02)
    assert rates[9] < 0.01


def test_plateau_lowers_the_rate_where_the_validation_loss_stands_still() -> None:
    plan = replace(PLAN, epochs=6, schedule="plateau", optimizer="sgd", learning_rate=1e-12, augment="none")
    epochs = train(tiny(), Job(plan=plan, splits=tiny_splits(20), seed=0), Silent()).epochs

    assert [epoch.learning_rate for epoch in epochs] == pytest.approx([1e-12] * 4 + [3e-13] * 2)


def test_logits_are_the_same_in_batches_as_one_by_one() -> None:
    module, samples = tiny().train(), Samples.whole(numbered(200).base[np.arange(300) % 200], np.zeros(300, np.int64))
    answers = logits(module, samples, BARE)

    expected = module(torch.from_numpy(BARE.apply(samples.array()))).detach()
    assert (answers.dtype, answers.shape) == (torch.float32, (300, 2))
    torch.testing.assert_close(answers, expected, rtol=1e-6, atol=1e-5)


class Viewing(Small):
    """Flattens with view(), which only takes images that lie channel by channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        hidden = torch.relu(self.conv(x))
        logits: Tensor = self.linear(hidden.view(len(x), -1))
        return logits


@pytest.mark.parametrize("network", [Small, Viewing])
def test_images_lie_as_the_network_can_take_them_and_its_weights_come_back_contiguous(
    network: type[nn.Module], few_splits: Splits
) -> None:
    trained = train(network(), Job(plan=replace(PLAN, epochs=1), splits=few_splits, seed=0), Silent())
    assert trained.epochs[0].train_accuracy > 0.25
    assert all(parameter.is_contiguous() for parameter in trained.module.parameters())


# From another network's answers


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_a_teachers_share_of_the_training_loss_is_the_divergence_of_softened_answers(weight: float) -> None:
    module, splits = tiny(), tiny_splits(20)
    torch.manual_seed(1)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(1, 2)).eval()
    job = Job(plan=STILL, splits=splits, seed=0, teacher=Teacher(module=teacher, weight=weight))
    (epoch,) = train(module, job, Silent()).epochs

    ours, theirs = (logits(each, splits.train, BARE).double() for each in (module, teacher))
    hard = functional.cross_entropy(ours, torch.from_numpy(splits.train.labels)).item()
    wanted = torch.softmax(theirs / 4, 1)
    soft = 16 * (wanted * (torch.log_softmax(theirs / 4, 1) - torch.log_softmax(ours / 4, 1))).sum(1).mean().item()
    assert epoch.train_loss == pytest.approx((1 - weight) * hard + weight * soft, rel=1e-5)
    assert abs(soft - hard) > 0.01


def test_a_network_learns_from_a_teacher_what_its_labels_do_not_say(few_splits: Splits, trained: nn.Module) -> None:
    false = np.random.default_rng(0).permutation(few_splits.train.labels)
    splits = replace(few_splits, train=replace(few_splits.train, labels=false))
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    torch.manual_seed(0)
    student = models.build("small_cnn", 1, 4, 28, 28).eval()
    teacher = Teacher(module=trained, weight=1.0)

    learned = train(student, Job(plan=PLAN, splits=splits, seed=0, stage="prune", teacher=teacher), Silent())
    misled = train(student, Job(plan=PLAN, splits=splits, seed=0, stage="prune"), Silent())

    _, accuracy = evaluate(learned.module, few_splits.evaluation, few_splits.preprocess)
    _, without = evaluate(misled.module, few_splits.evaluation, few_splits.preprocess)
    assert accuracy > 0.6 > without + 0.1
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert not trained.training


# A share of the samples


def test_an_epoch_goes_over_a_share_of_the_samples_that_is_drawn_anew_for_each() -> None:
    batches: list[list[int]] = []
    plan = replace(PLAN, epochs=8, share=0.5, batch_size=10, augment="none")
    progress = RecordingProgress()
    train(watched(batches), Job(plan=plan, splits=tiny_splits(80), seed=0), progress)

    epochs = [[*itertools.chain(*batches[first : first + 4])] for first in range(0, 32, 4)]
    assert progress.tasks == [("train 8 epochs", 32, 32)]
    assert all(len(set(epoch)) == 40 for epoch in epochs)
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 8
    assert set().union(*epochs) == set(range(80))


def test_a_share_smaller_than_a_batch_is_one_batch() -> None:
    batches: list[list[int]] = []
    plan = replace(PLAN, share=0.01, batch_size=10, augment="none")
    train(watched(batches), Job(plan=plan, splits=tiny_splits(80), seed=0), Silent())
    assert [len(batch) for batch in batches] == [10] * 3


# Half precision


def test_a_training_in_bfloat16_learns_and_has_the_same_bits_each_time(few_splits: Splits) -> None:
    torch.manual_seed(0)
    module = models.build("small_cnn", 1, 4, 28, 28).eval()
    job = Job(plan=replace(PLAN, arithmetic="bf16"), splits=few_splits, seed=0)
    half, again = train(module, job, Silent()), train(module, job, Silent())
    full = train(module, replace(job, plan=replace(PLAN, arithmetic="fp32")), Silent())

    assert max(epoch.validation_accuracy for epoch in half.epochs) > 0.7
    assert same(half.module, again.module)
    assert timeless(half) == timeless(again)
    assert not same(half.module, full.module)
    assert {value.dtype for value in half.module.parameters()} == {torch.float32}
    assert abs(half.epochs[0].train_loss - full.epochs[0].train_loss) < 0.05


def test_float16_on_a_cpu_is_refused_before_the_first_step(few_splits: Splits) -> None:
    with pytest.raises(StepError, match=r"^float16 is for training on CUDA, and this is a CPU"):
        train(small(), Job(plan=replace(PLAN, arithmetic="fp16"), splits=few_splits, seed=0), Silent())
