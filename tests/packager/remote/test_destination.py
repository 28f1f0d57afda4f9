"""Which boards there are: as named, or in an inventory."""

from pathlib import Path

import pytest

from packager.remote.destination import Destination, Host, destinations
from runner.errors import UsageError

ADVICE = "HOST, USER@HOST, or a name of your ssh configuration"
TABLES = 'a table for each board, such as\n[hosts.pi5]\naddress = "pi@raspberrypi.local"'


def inventory(folder: Path, text: str) -> Path:
    path = folder / "hosts.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(on: list[str], file: Path | None = None, ssh_config: Path | None = None) -> str:
    with pytest.raises(UsageError) as error:
        destinations(on, file, ssh_config)
    return str(error.value)


def test_a_board_that_is_named_is_its_own_address() -> None:
    assert destinations(["pi@raspberrypi.local"], None) == (
        Destination(name="pi@raspberrypi.local", host=Host(address="pi@raspberrypi.local")),
    )


def test_a_board_that_is_named_twice_is_one() -> None:
    assert [board.name for board in destinations(["b", "a", "b"], None)] == ["b", "a"]


def test_without_names_all_of_the_inventory_is_meant_in_its_order(tmp_path: Path) -> None:
    file = inventory(
        tmp_path,
        '[hosts.pi5]\naddress = "pi@10.0.0.5"\nport = 2222\npython = "/opt/py/bin/python"\n[hosts.a]\naddress="a"',
    )
    config = tmp_path / "config"
    config.touch()
    found = destinations([], file, config)
    assert found == (
        Destination(
            name="pi5", host=Host(address="pi@10.0.0.5", port=2222, python="/opt/py/bin/python"), ssh_config=config
        ),
        Destination(name="a", host=Host(address="a"), ssh_config=config),
    )


def test_a_name_of_the_inventory_stands_for_its_address_and_another_for_itself(tmp_path: Path) -> None:
    file = inventory(tmp_path, '[hosts.pi5]\naddress = "pi@10.0.0.5"\n[hosts.other]\naddress = "o"\n')
    found = destinations(["pi5", "pi4"], file)
    assert [(board.name, board.host.address) for board in found] == [("pi5", "pi@10.0.0.5"), ("pi4", "pi4")]


def test_somebody_has_to_be_named() -> None:
    assert refused([]) == "--on: name a board\n  try: --on pi@raspberrypi.local, or --inventory hosts.toml"


@pytest.mark.parametrize("address", ["", "-oProxyCommand=touch x", "--", "a b", "pi@host\n", "pi\x00", "tab\there"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert refused([address]) == f"--on: {address!r} is no address of a board\n  try: {ADVICE}"


def test_an_inventory_says_whose_address_is_none(tmp_path: Path) -> None:
    file = inventory(tmp_path, '[hosts.pi5]\naddress = "-v"\n')
    assert refused([], file) == f"--on: '-v' is no address of a board (pi5)\n  try: {ADVICE}"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_has_its_range(port: int, tmp_path: Path) -> None:
    file = inventory(tmp_path, f'[hosts.pi5]\naddress = "pi"\nport = {port}\n')
    assert refused([], file) == f"hosts.pi5.port: {port} is no port\n  try: 1 to 65535, or leave it out"


def test_a_path_of_a_python_has_letters_alone(tmp_path: Path) -> None:
    file = inventory(tmp_path, '[hosts.pi5]\naddress = "pi"\npython = "/bin/\\u0000"\n')
    assert refused([], file) == "hosts.pi5.python: '/bin/\\x00' is no path\n  try: a Python on the board"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "hosts: missing"),
        ("hosts = 1", "hosts: expected a table of keys, got 1"),
        ("[hosts.pi5]\n", "hosts[pi5].address: missing"),
        ("[hosts.pi5]\naddress = 5\n", "hosts[pi5].address: expected a string, got 5"),
        ('[hosts.pi5]\nadress = "a"\naddress = "a"\n', "hosts[pi5].adress: unknown key; did you mean 'address'?"),
        ('[hosts.pi5]\naddress = "a"\nport = "22"\n', "hosts[pi5].port: expected an integer, got '22'"),
    ],
)
def test_an_inventory_says_what_is_wrong_with_it(text: str, problem: str, tmp_path: Path) -> None:
    file = inventory(tmp_path, text)
    assert refused([], file) == f"{file}: {problem}\n  try: {TABLES}"


def test_an_inventory_that_is_no_toml_is_told_with_the_line(tmp_path: Path) -> None:
    file = inventory(tmp_path, "[hosts.pi5\n")
    assert refused([], file).startswith(f"{file}: not TOML: ")


def test_an_inventory_has_to_name_somebody(tmp_path: Path) -> None:
    file = inventory(tmp_path, "[hosts]\n")
    assert refused([], file) == f"{file}: names no host\n  try: {TABLES.replace(' board', '')}"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refused([], missing) == f"{missing}: cannot be read: No such file or directory"
    assert refused(["pi"], None, missing) == f"{missing}: is not a file\n  try: a file as ~/.ssh/config is"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("pi5", "pi5"),
        ("pi@raspberrypi.local", "pi@raspberrypi.local"),
        ("ssh://pi@board:2222", "ssh-pi@board-2222"),
        ("../../etc", "etc"),
        ("Küche 1", "K-che-1"),
        ("日本", "board"),
        ("..", "board"),
    ],
)
def test_a_name_becomes_a_part_of_file_names(name: str, slug: str) -> None:
    assert Destination(name=name, host=Host(address="a")).slug == slug


def test_two_boards_never_write_one_file() -> None:
    advice = "names of their own in an inventory"
    assert refused(["ssh://a", "ssh:/a"]) == (
        f"--on: 'ssh://a' and 'ssh:/a' would have reports of one name\n  try: {advice}"
    )
    assert refused(["Pi", "pi"]) == f"--on: 'Pi' and 'pi' would have reports of one name\n  try: {advice}"
