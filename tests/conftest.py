# SPDX-License-Identifier: MIT
import os
import signal
import socket
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from lab import pasta as lab_pasta  # noqa: E402
from lab.guest import Guest  # noqa: E402
from lab.program import Passt, assert_clean  # noqa: E402
from lab.topology import Topology  # noqa: E402

# A server's connection that nothing comes from is a failure, not a reason to wait for ever.
socket.setdefaulttimeout(60)

# Whoever runs this in the background may have these ignored, and programs go on with what they find.
for number, action in (signal.SIGHUP, signal.SIG_DFL), (signal.SIGQUIT, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler):
    signal.signal(number, action)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Namespaces, one set for each test file."""
    t = Topology(str(tmp_path_factory.mktemp("net")))
    yield t
    t.close()


@pytest.fixture
def start(net, tmp_path):
    """start(*options): passt in the host namespace; checked for an orderly end after the test."""
    running = []

    def begin(*args, **kw):
        work = tmp_path / str(len(running))
        work.mkdir()
        running.append(Passt(net.host, str(work), *args, **kw))
        return running[-1]

    yield begin
    for p in running:
        p.close()


@pytest.fixture
def passt(start):
    return start()


@pytest.fixture
def guest(passt):
    g = Guest(passt.socket_path)
    g.announce()
    yield g
    g.close()


@pytest.fixture
def pasta(net, tmp_path):
    """pasta(*options): with a broker as its command, in the host namespace; checked for an orderly end after the test."""
    running = []

    def begin(*args, host=net.host, **kw):
        if lab_pasta.no_tun() and "--splice-only" not in args:
            pytest.skip(lab_pasta.no_tun())
        work = tmp_path / f"pasta{len(running)}"
        work.mkdir()
        running.append(lab_pasta.Pasta(host, str(work), *args, **kw))
        return running[-1]

    yield begin
    for p in running:
        p.close()


@pytest.fixture
def tun():
    """For tests that start pasta in other ways."""
    if lab_pasta.no_tun():
        pytest.skip(lab_pasta.no_tun())


@pytest.fixture
def container(net, tun):
    """A network namespace in a user namespace of its own."""
    b = lab_pasta.box(net.host)
    yield b
    b.close()


@pytest.fixture
def plain(net, tun):
    """A network namespace in the host's user namespace, as a manager has them that sits in one itself."""
    b = lab_pasta.box(net.host, user=False)
    yield b
    b.close()


@pytest.fixture
def daemon(net, tmp_path):
    """daemon(*options): pasta in the background."""
    running = []

    def begin(*args, **kw):
        work = tmp_path / f"daemon{len(running)}"
        work.mkdir()
        running.append(lab_pasta.Daemon(net.host, str(work), *args, **kw))
        return running[-1]

    yield begin
    for d in running:
        d.close()
        assert_clean(d.done.stderr)
