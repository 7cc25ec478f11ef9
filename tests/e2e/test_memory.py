# SPDX-License-Identifier: MIT
"""
System calls for memory: none comes once the program runs. A sanitizer's memory grows, whatever we do, so it is a build without one.

    guest (scapy) ---socket, or vhost-user--- passt, watched by strace, in "host" ---veth--- "remote" (topology.py)
    namespace ---tap--- pasta, the same
"""
import re

import pytest
from lab import session
from lab.guest import Guest, connect_again
from lab.pasta import connects
from lab.program import plain
from lab.vhostuser import VhostGuest

# The guest's own is a file that the front end has sent, and shared.
MEMORY = re.compile(r"\b(brk|mremap|mmap)\((?!.*MAP_SHARED)")


def watched(trace):
    """strace as the observer of the engine, not as its parent, and not of the processes beside it."""
    return "strace", "-D", "-qq", "-o", trace, "-e", "trace=brk,mmap,mremap,munmap"


def asked(text):
    return [line for line in text.splitlines() if MEMORY.search(line)]


@pytest.mark.parametrize("make,options", [(Guest, ()), (VhostGuest, ("--vhost-user",))], ids=["stream", "vhost-user"])
def test_passt(start, net, tmp_path, make, options):
    """All of it was mapped before: for flows of all kinds, services, control requests, a capture, a guest that comes again."""
    trace, control = tmp_path / "trace", tmp_path / "control"
    passt = start(*session.passt_options(control), *options, prefix=watched(trace), exe=plain())
    guest = make(passt.socket_path)
    guest.announce()
    before = trace.read_text()
    assert asked(before)
    session.of_passt(net, guest, lambda: connect_again(passt, make), control, tmp_path / "capture")
    assert not asked(trace.read_text()[len(before) :])


def test_pasta(pasta, net, tmp_path):
    trace, control = tmp_path / "trace", tmp_path / "control"
    p = pasta(*session.pasta_options(control), prefix=watched(trace), exe=plain())
    connects(net, p.ns)
    before = trace.read_text()
    assert asked(before)
    session.of_pasta(net, p.ns, control, tmp_path / "capture")
    assert not asked(trace.read_text()[len(before) :])
