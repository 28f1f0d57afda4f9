"""How a bundle came to be, as a person sees it: what pruning brought, what int8 harms, how the budget was held."""

from dataclasses import replace

import pytest

from runner import report
from runner.packing import BudgetRecord, LayerDamage, NetworkFacts, Packing, StepRecord, Try
from runner.render import report_page
from runner.render.packing import described, packing_blocks
from runner.render.page import as_text
from runner.report import Report
from tests import reports

PAGE = """\
network, fp32  parameters  not zero    MACs  ratio       file   latency  ratio and its interval
───────────────────────────────────────────────────────────────────────────────────────────────
packed                600       500  40,000  0.44x   90.0 KiB   75.0 µs    0.50x (0.48 to 0.52)
unpruned            1,000     1,000  90,000  1.00x  200.0 KiB  151.0 µs                       —

int8 in this layer alone      SNR  answers changed
──────────────────────────────────────────────────
conv1                     18.5 dB           2.00 %
linear                          —           0.00 %

int8.onnx: tried                        top-1  points lost        interval  samples
─────────────────────────────────────────────────────────────────────────────────────────────
as the recipe has it                  89.00 %        +3.00  +1.80 to +4.20    1,000  too much
ranges by mse: no layer is left             —            —               —        —    failed
QAT, 2 epochs                         91.50 %        +0.50  -0.20 to +1.20    1,000     holds
QAT, 2 epochs, on the evaluation set  91.00 %        +0.75  +0.10 to +1.40    2,000     holds

int8.onnx holds the budget of 1 point by: QAT, 2 epochs.

int8-optimised.onnx: tried  time, to the best before      interval  points lost
───────────────────────────────────────────────────────────────────────────────────────
all in int8                                    1.20x             —            —  slower
Mul in fp32                                    0.85x  0.80 to 0.90        +3.00   taken

int8-optimised.onnx: confirmed   latency  its interval  to fp32      interval
─────────────────────────────────────────────────────────────────────────────
fp32                            100.0 µs    90.0–110.0        —             —
all in int8                     120.0 µs    90.0–110.0    1.20x             —
optimised                        85.0 µs    90.0–110.0    0.85x  0.80 to 0.90

int8-optimised.onnx: 2 trials in 62 s, 1 taken. Integers are 3 Conv, 1 depthwise Conv; in fp32 stay 2 Mul. Ratios are of
processes that took turns; latency is their median with its 99.2 % interval.

candidate              size    top-1  latency
───────────────────────────────────────────────────────
int8.onnx          50.0 KiB  75.00 %  60.0 µs      kept
fp16.onnx         100.0 KiB  75.00 %  90.0 µs        no
int8.torchscript          —        —        —  left out

Why
  int8.onnx: the fastest
  fp16.onnx: int8.onnx is as fast, as small and as right, or better

Left out
  int8.torchscript: it cannot be traced; try: int8.onnx

Packed in 2.5 s before it was measured; longest: train 2.5 s.
"""  # noqa: RUF001 - as tables write a span

UNPRUNED = NetworkFacts(name="unpruned", parameters=1000, nonzero=1000, macs=90_000)
ZEROS = NetworkFacts(name="", parameters=1000, nonzero=500, macs=90_000)
CHANNELS = NetworkFacts(name="", parameters=600, nonzero=600, macs=40_000)
NO_MILLISECONDS = (
    "50 % of the parameters have gone from the network 'packed', and no milliseconds: the zeros stay in the file and in"
    " the arithmetic. What makes a network faster is to take out whole channels: --prune-method channels."
)


def host(medians_us: tuple[int, ...] = (75, 76, 74, 77, 73)) -> Report:
    """Return a report of a pruned network that takes so long, beside the one that was not pruned."""
    unpruned = reports.artifact("unpruned-fp32.onnx", size=200 * 1024, medians_us=(150, 152, 151, 149, 153))
    pruned = reports.artifact("fp32.onnx", size=90 * 1024, medians_us=medians_us)
    return report.seal(replace(reports.host(), artifacts=(pruned, unpruned)))


def page(packing: Packing, whole: Report | None = None) -> str:
    """Return what is shown of a packing."""
    return as_text(tuple(packing_blocks(whole or host(), packing)))


def words(network: NetworkFacts, whole: Report) -> list[str]:
    """Return the sentences that are said of a network beside the unpruned one."""
    packing = Packing(epochs=(), steps=(), networks=(network, UNPRUNED))
    blocks = [block for block in packing_blocks(whole, packing) if isinstance(block, str)]
    assert blocks[-1].startswith("Packed in ")
    return blocks[:-1]


def test_all_that_is_known_of_a_packing_is_shown() -> None:
    assert page(reports.packed()) == PAGE


def test_a_report_shows_it_before_its_last_line() -> None:
    shown = as_text(report_page(report.seal(replace(host(), packing=reports.packed()))))
    assert shown.endswith(f"\n{PAGE}\nValid.\n")


def test_what_there_is_not_is_not_shown() -> None:
    bare = Packing(epochs=(), steps=(StepRecord(step="data", duration_s=0.25, cached=True),))
    assert page(bare) == "Packed in 0.2 s before it was measured; longest: data 0.2 s.\n"


def test_zeros_that_bring_no_milliseconds_are_told_as_such() -> None:
    assert words(ZEROS, host((150, 151, 149, 152, 148))) == [NO_MILLISECONDS]
    shown = page(Packing(epochs=(), steps=(), networks=(ZEROS, UNPRUNED)), host((150, 151, 149, 152, 148)))
    assert NO_MILLISECONDS in shown.replace("\n", " ")


def test_slower_than_before_is_no_milliseconds_either() -> None:
    assert words(ZEROS, host((190, 191, 189, 192, 188))) == [NO_MILLISECONDS]


@pytest.mark.parametrize(("median", "said"), [(144, True), (143, False)])
def test_a_twentieth_of_the_time_is_the_least_that_counts_as_faster(median: int, said: bool) -> None:
    assert bool(words(ZEROS, host((median,) * 5))) is said


def test_zeros_are_not_called_faster_on_a_machine_that_is_noisy() -> None:
    noisy = (90, 160, 95, 170, 92)
    assert words(ZEROS, host(noisy)) == [NO_MILLISECONDS]
    assert words(CHANNELS, host(noisy)) == []
    assert words(ZEROS, host()) == []


def test_channels_that_bring_no_milliseconds_are_not_advised_to_who_has_taken_them_out() -> None:
    assert words(CHANNELS, host((150, 151, 149, 152, 148))) == [
        "40 % of the parameters have gone from the network 'packed', and no milliseconds: this runtime spends its time"
        " on other things here than arithmetic."
    ]
    assert words(CHANNELS, host()) == []


def test_nothing_is_said_of_a_network_that_lost_next_to_nothing_or_was_not_measured() -> None:
    slow = host((150, 151, 149, 152, 148))
    assert words(replace(ZEROS, nonzero=960), slow) == []
    unmeasured = tuple(replace(artifact, latency=None) for artifact in slow.artifacts)
    assert words(ZEROS, replace(slow, artifacts=unmeasured)) == []
    assert words(ZEROS, replace(slow, artifacts=slow.artifacts[:1])) == []


def test_a_network_without_an_fp32_file_has_its_counts_alone() -> None:
    variant = NetworkFacts(name="half", parameters=500, nonzero=500, macs=45_000)
    shown = page(Packing(epochs=(), steps=(), networks=(UNPRUNED, variant)))
    (row,) = (line.split() for line in shown.splitlines() if line.startswith("half"))
    assert row == ["half", "500", "500", "45,000", "0.50x", "—", "—", "—"]


def test_a_variant_is_compared_by_its_own_fp32_file() -> None:
    whole = host()
    file = reports.artifact("half-fp32.onnx", size=90 * 1024, medians_us=(75, 76, 74, 77, 73))
    unpruned = replace(whole.artifacts[1], name="fp32.onnx")
    networks = (replace(UNPRUNED, name=""), replace(CHANNELS, name="half"))
    shown = page(Packing(epochs=(), steps=(), networks=networks), replace(whole, artifacts=(unpruned, file)))
    (row,) = (line for line in shown.splitlines() if line.startswith("half"))
    assert row.endswith("   90.0 KiB   75.0 µs    0.50x (0.48 to 0.52)")


def test_too_few_processes_give_a_ratio_without_an_interval() -> None:
    shown = page(Packing(epochs=(), steps=(), networks=(CHANNELS, UNPRUNED)), host((75, 76)))
    assert next(line for line in shown.splitlines() if line.startswith("packed")).endswith("  0.50x")


def test_of_many_layers_the_worst_are_shown() -> None:
    damages = tuple(LayerDamage(layer=f"layer{number:02}", snr_db=number, changed=0.0) for number in range(30))
    shown = page(Packing(epochs=(), steps=(), sensitivity=damages))
    assert [f"layer{number:02}" in shown for number in range(30)] == [True] * 20 + [False] * 10


def test_a_budget_that_is_missed_is_told_with_what_is_kept() -> None:
    shown = page(Packing(epochs=(), steps=(), budgets=(reports.budget(holds=False),)))
    assert "int8.onnx does not hold the budget of 1 point; the best of 3 tried is kept: QAT, 2 epochs.\n" in shown


def test_a_budget_that_holds_by_the_validation_split_alone_is_missed() -> None:
    record = reports.budget()
    missed: BudgetRecord = replace(record, evaluation=reports.drop(0.0101, 0.0, 0.02), holds=False)
    shown = page(Packing(epochs=(), steps=(), budgets=(missed,))).splitlines()
    assert shown[4].endswith("1,000     holds")
    assert shown[5].endswith("+1.01   0.00 to +2.00    1,000  too much")
    assert "does not hold" in shown[7]


def test_a_try_is_described_with_its_figures_or_with_its_failure() -> None:
    tried, failed, _ = reports.budget().tries
    assert described(tried) == (
        "as the recipe has it: +3.00 points lost, 95 % interval +1.80 to +4.20, top-1 89.00 % on 1,000 samples"
    )
    assert described(failed) == "ranges by mse: no layer is left"
    gained = Try(what="a", validation=reports.drop(-0.0025, -0.01, 0.005), holds=True)
    assert described(gained).startswith("a: -0.25 points lost, ")
