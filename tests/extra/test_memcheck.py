# SPDX-License-Identifier: MIT
"""
The program under valgrind's memcheck: what it reads before it was written, what lies outside of what was allocated, what is lost. valgrind
makes system calls of its own, so the filter of those and Landlock are refused to the program. tools/memcheck builds it, and runs this.

    guest ---socket--- passt in "host" ---veth--- "remote"          namespace ---tap--- pasta in "host" ---veth--- "remote"
"""
import errno
import os
import shlex

import pytest
from lab import refuse, session
from lab.guest import Guest, connect_again
from lab.vhostuser import VhostGuest

VALGRIND = shlex.split(os.environ.get("MEMCHECK", ""))
pytestmark = pytest.mark.skipif(not VALGRIND, reason="run by tools/memcheck")

REFUSED = refuse.prefix(errno.EPERM, *refuse.ALL_LAYERS)


@pytest.fixture
def memcheck(tmp_path):
    """What to put in front of the program; afterwards no process of it may have told anything."""
    log = tmp_path / "memcheck"
    yield [*VALGRIND, f"--log-file={log}.%p"]
    logs = [path.read_text() for path in tmp_path.glob("memcheck.*")]
    assert logs
    # It also says which system calls it does not know.
    told = [line for text in logs for line in text.splitlines() if line.startswith("==")]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("make,options", [(Guest, ()), (VhostGuest, ("--vhost-user",))], ids=["stream", "vhost-user"])
def test_passt(start, net, tmp_path, memcheck, make, options):
    control = tmp_path / "control"
    passt = start(*session.passt_options(control), *options, prefix=[*refuse.USER, *REFUSED, *memcheck])
    session.of_passt(net, connect_again(passt, make), lambda: connect_again(passt, make), control, tmp_path / "capture")
    assert passt.stop() == 0, passt.output()


def test_pasta(pasta, net, tmp_path, memcheck):
    control = tmp_path / "control"
    p = pasta(*session.pasta_options(control), prefix=[*refuse.PLAIN, *REFUSED, *memcheck])
    session.of_pasta(net, p.ns, control, tmp_path / "capture")
    p.close()
