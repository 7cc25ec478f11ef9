# SPDX-License-Identifier: MIT
"""
Memory that is lost: at the end of the program LeakSanitizer looks for it. That takes a process that looks into ours, and files of /proc,
which is what we keep out; so here all of that is refused to the program, as in a container that forbids it.

    guest ---socket--- passt in "host" ---veth--- "remote"          namespace ---tap--- pasta in "host" ---veth--- "remote"
"""
import errno
import os

import pytest
from lab import refuse, session
from lab.guest import Guest, connect_again
from lab.program import sanitized
from lab.vhostuser import VhostGuest

pytestmark = pytest.mark.skipif(not sanitized(), reason="the program has no sanitizer that looks for leaks")

REFUSED = refuse.prefix(errno.EPERM, *refuse.ALL_LAYERS)
ENV = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}


def ends_clean(p):
    """The end is an orderly one only if there was no leak, and a look for them was possible."""
    assert p.stop() == 0, p.output()
    assert "LeakSanitizer" not in p.output()


@pytest.mark.parametrize("make,options", [(Guest, ()), (VhostGuest, ("--vhost-user",))], ids=["stream", "vhost-user"])
def test_passt(start, net, tmp_path, make, options):
    control = tmp_path / "control"
    passt = start(*session.passt_options(control), *options, prefix=[*refuse.USER, *REFUSED], env=ENV)
    session.of_passt(net, connect_again(passt, make), lambda: connect_again(passt, make), control, tmp_path / "capture")
    ends_clean(passt)


def test_pasta(pasta, net, tmp_path):
    control = tmp_path / "control"
    p = pasta(*session.pasta_options(control), prefix=[*refuse.PLAIN, *REFUSED], env=ENV)
    session.of_pasta(net, p.ns, control, tmp_path / "capture")
    p.close()
    assert "LeakSanitizer" not in p.output()
