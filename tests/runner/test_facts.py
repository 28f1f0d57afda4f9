"""What is read from the facts of a machine."""

import pytest

from tests import reports


@pytest.mark.parametrize(
    ("virtual", "hypervisor"),
    [
        (None, None),
        ("container (docker)", None),
        ("virtual machine (QEMU Standard PC)", "virtual machine (QEMU Standard PC)"),
        ("virtual machine (xen) with a container (docker)", "virtual machine (xen)"),
        ("kvm", "kvm"),
    ],
)
def test_a_container_is_no_hypervisor(virtual: str | None, hypervisor: str | None) -> None:
    assert reports.device(virtual=virtual).hypervisor == hypervisor
