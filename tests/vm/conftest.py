# SPDX-License-Identifier: MIT
import pytest
from lab import vm as vms
from lab.program import Passt
from lab.vmconf import OPTIONS, configure


@pytest.fixture(scope="module", params=["stream", "vhost-user"])
def link(request):
    """How frames get to the guest and back; all tests run with each, and each on another type of machine."""
    return request.param


@pytest.fixture(scope="module")
def options(link):
    """What the program is started with."""
    return [*OPTIONS, *(["--vhost-user"] if link == "vhost-user" else [])]


@pytest.fixture(scope="module")
def running(net, tmp_path_factory, options):
    """The program that the guest is connected to; tests that replace it put the new one here."""
    box = {"passt": Passt(net.host, str(tmp_path_factory.mktemp("passt")), *options)}
    yield box
    box["passt"].close()


@pytest.fixture(scope="module")
def booted(running, link):
    """One guest for all tests: under emulation a boot takes a while."""
    path = running["passt"].socket_path
    v = vms.Vm(vms.VhostUser(path), machine="q35") if link == "vhost-user" else vms.Vm(vms.stream(path), machine="pc")
    yield v
    v.close()


@pytest.fixture
def vm(booted, running):
    """The guest, with its network configured."""
    if booted.sh("ip route | grep -q ^default && ip -6 route | grep -q ^default", check=False).status:
        configure(booted)
    yield booted
    assert running["passt"].alive(), running["passt"].output()
