"""Keys, accounts and configuration: what makes a board's sshd, and the client's side of it."""

import shutil
import subprocess
from pathlib import Path

USER, USER_ID = "pi", 1000
PASSWD = f"""root:x:0:0:root:/root:/bin/bash
sshd:x:74:74:sshd:/run/sshd:/usr/sbin/nologin
{USER}:x:{USER_ID}:{USER_ID}:{USER}:/home/{USER}:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = f"root:x:0:\ntty:x:5:\nsshd:x:74:\n{USER}:x:{USER_ID}:\nnogroup:x:65534:\n"
SHADOW = f"root:*:19000::::::\nsshd:*:19000::::::\n{USER}:*:19000::::::\n"
# QEMU_CPU stands here because a session's environment is sshd's own making.
SERVER = """ListenAddress 127.0.0.1
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintLastLog no
PrintMotd no
MaxStartups 100
MaxSessions 100
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv QEMU_CPU={cpu}
"""
CLIENT = """Host {name}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {identity}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""


def new_key(path: Path) -> str:
    """Write a key pair, and return the public one."""
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True)
    return Path(f"{path}.pub").read_text()


def write_system(tree: Path, etc: Path, *, name: str, cpu: str) -> None:
    """Fill a board's /etc: Debian's own, accounts, and what sshd wants."""
    shutil.copytree(tree / "etc", etc, symlinks=True)
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    (etc / "shadow").write_text(SHADOW)
    (etc / "shadow").chmod(0o600)
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {name}\n")
    (etc / "ssh/sshd_config").write_text(SERVER.format(cpu=cpu))
    new_key(etc / "ssh/ssh_host_ed25519_key")


def write_home(home: Path, public_key: str) -> None:
    """Make the user's home, where sshd lets the owner of the key in."""
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh/authorized_keys").write_text(public_key)
    (home / ".ssh/authorized_keys").chmod(0o600)
    for path in (home, *home.rglob("*")):
        shutil.chown(path, USER_ID, USER_ID)


def known_host(port: int, public_key: str) -> str:
    """Return the line by which a client knows a board."""
    return f"[127.0.0.1]:{port} {public_key}"
