"""Which other programs had the CPU: real ones, with psutil and without."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from runner.device import others, portable
from runner.device.others import Snapshot, Spent
from runner.process import Other

ROOT = Path(__file__).parent.parent.parent.parent
SPIN = "while True: pass"
WITHOUT = "import sys; sys.modules['psutil'] = None"
"""What makes every import of it fail, as where it is not installed."""


def seen(at_s: float, **cpu_s: float) -> Snapshot:
    """Return a snapshot in which each program is one process; a name's last letter is its number."""
    spent = {(ord(name[-1]), 1.0): Spent(name=name[:-1], cpu_s=value) for name, value in cpu_s.items()}
    return Snapshot(monotonic_ns=round(at_s * 1e9), spent=spent)


def test_a_program_of_several_processes_is_one_and_the_three_busiest_are_named() -> None:
    before = seen(10.0, cca=5.0, rsyncb=100.0, idlec=7.0, seedd=1.0, browsere=0.0)
    after = seen(12.0, cca=6.0, ccf=1.5, rsyncb=100.5, idlec=7.0, seedd=1.02, browsere=0.9)
    assert others.between(before, after) == (
        Other(name="cc", cpus=1.25),
        Other(name="browser", cpus=0.45),
        Other(name="rsync", cpus=0.25),
    )


def test_who_had_less_than_a_twentieth_of_a_cpu_is_not_named() -> None:
    assert others.between(seen(0, seedd=1.0), seen(1, seedd=1.04)) == ()
    assert others.between(seen(0, seedd=1.0), seen(1, seedd=1.25)) == (Other(name="seed", cpus=0.25),)


def test_a_number_that_was_given_again_is_another_process() -> None:
    before, after = seen(0, cca=50.0), seen(1)
    reborn = replace(after, spent={(ord("a"), 2.0): Spent(name="vi", cpu_s=0.5)})
    assert others.between(before, reborn) == (Other(name="vi", cpus=0.5),)


def test_without_both_snapshots_nobody_is_named() -> None:
    assert others.between(None, seen(1, cca=1.0)) == ()
    assert others.between(seen(0, cca=0.0), None) == ()
    assert others.between(seen(1, cca=0.0), seen(1, cca=1.0)) == ()


def test_a_program_that_spins_is_found_and_a_child_of_our_own_is_not() -> None:
    # Its parent ends at once, so that it is nobody's child here.
    starts = (
        "import subprocess, sys; "
        "nothing = subprocess.DEVNULL; "
        "print(subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=nothing, stderr=nothing).pid)"
    )
    started = subprocess.run([sys.executable, "-c", starts, SPIN], capture_output=True, text=True, check=True)
    stranger = int(started.stdout)
    child = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        before = others.snapshot()
        time.sleep(0.5)
        after = others.snapshot()
    finally:
        os.kill(stranger, 9)
        child.kill()
        child.wait()
    assert before is not None
    assert after is not None
    assert {number for number, _ in after.spent} >= {1, stranger}
    assert {number for number, _ in after.spent} & {os.getpid(), child.pid} == set()
    lives = {number: life for life in after.spent if (number := life[0]) == stranger}
    grown = after.spent[lives[stranger]].cpu_s - before.spent[lives[stranger]].cpu_s
    assert grown > 0


def ask(program: str) -> str:
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_without_psutil_nobody_is_looked_for() -> None:
    asks = "from runner.device import others; print(others.snapshot() is None)"
    assert ask(asks) == "False"
    assert ask(f"{WITHOUT}; {asks}") == "True"


def test_where_there_is_no_proc_psutil_tells_of_memory_and_cpus() -> None:
    # A machine of another system, as far as that is asked: psutil answers for this one.
    asks = (
        "import platform; platform.system = lambda: 'Darwin'; from pathlib import Path; "
        "from runner import device; from runner.device.surroundings import usable_cpus as cpus; "
        "root = Path('/nowhere'); print(device.facts(root).memory_bytes, cpus(root))"
    )
    memory, cpus = ask(asks).split()
    assert int(memory) > 1 << 27
    assert int(cpus) == os.cpu_count()
    assert ask(f"{WITHOUT}; {asks}") == "None 1"
    assert (portable.memory_bytes(), portable.cpus()) == (None, None)
