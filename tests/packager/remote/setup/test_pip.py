import pytest

from packager.remote.setup.pip import failure

NO_NETWORK = (
    "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError("
    "': Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/numpy/",
    "ERROR: Could not find a version that satisfies the requirement numpy (from versions: none)",
    "ERROR: No matching distribution found for numpy",
)


@pytest.mark.parametrize(
    ("lines", "cause", "says"),
    [
        (NO_NETWORK, "network", "Temporary failure in name resolution"),
        (NO_NETWORK[1:], "no-wheel", "Could not find a version that satisfies the requirement numpy"),
        (
            ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",),
            "no-space",
            "28",
        ),
        (("ERROR: HTTP error 403", "403 Error: Forbidden"), "refused", "403 Error"),
        (("Collecting numpy", "ERROR: it broke", "[notice] A new release of pip"), "other", "it broke"),
        (("/usr/bin/python3: No module named pip",), "other", "/usr/bin/python3: No module named pip"),
        ((), "other", "pip said nothing"),
    ],
)
def test_a_failure_is_told_by_the_line_that_says_most(lines: tuple[str, ...], cause: str, says: str) -> None:
    found = failure(lines)
    assert found.cause == cause
    assert says in found.line
    assert not found.line.startswith(("ERROR", "WARNING"))


def test_a_line_stays_short_enough_to_be_read() -> None:
    assert len(failure(["ERROR: " + "x" * 5000]).line) == 300
