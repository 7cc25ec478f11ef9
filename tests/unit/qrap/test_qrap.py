# SPDX-License-Identifier: MIT
"""
qrap against made-up passts and a made-up QEMU.

The socket paths are fixed, so qrap runs in a mount namespace of its own, where /tmp is a directory of the test:

    test (threads)                     unshare -Urm
    DIR/passt_1.socket  <----------->  /tmp/passt_1.socket   qrap, then the command
    DIR/bin/qemu-kvm                   /tmp/bin/qemu-kvm     prints its arguments, talks to descriptor 5

The program is $QRAP, or src/bin/qrap in the build directory $BUILD.
"""

import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

QRAP = os.environ.get("QRAP") or os.path.join(os.environ.get("BUILD", "build"), "src", "bin", "qrap")
UNSHARE = ["unshare", "-Urm", "--propagation", "private"]

ARP_PROBE = bytes(12) + bytes.fromhex("0806 0001 0800 06 04 0001") + bytes(20)
REPLY = bytes(range(42))
LATER = b"a frame for the guest, not for qrap"

CAN_UNSHARE = subprocess.run(UNSHARE + ["mount", "-t", "tmpfs", "x", "/tmp"], capture_output=True).returncode == 0

pytestmark = [
    pytest.mark.skipif(not os.access(QRAP, os.X_OK), reason="no qrap: set QRAP or BUILD"),
    pytest.mark.skipif(not CAN_UNSHARE, reason="no user or mount namespaces"),
]


def framed(frame):
    return struct.pack(">I", len(frame)) + frame


class Passt(threading.Thread):
    """Listens on one of the paths. For each connection but the last, resets it; the last one is answered as told."""

    def __init__(self, path, reply=framed(REPLY), resets=0, hold=None):
        super().__init__(daemon=True)
        self.reply, self.resets, self.hold = reply, resets, hold
        self.connections, self.frames, self.rest = 0, [], b""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.start()

    def exactly(self, conn, n):
        data = b""
        while len(data) < n:
            more = conn.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def run(self):
        for i in range(self.resets):
            conn, _ = self.listener.accept()
            self.connections += 1
            conn.recv(1)  # the rest is unread: closing is a reset
            conn.close()
        conn, _ = self.listener.accept()
        self.connections += 1
        try:
            for _ in range(2):
                (n,) = struct.unpack(">I", self.exactly(conn, 4))
                self.frames.append(self.exactly(conn, n))
            conn.sendall(self.reply)
            if self.hold:
                self.hold.wait()
            while True:
                data = conn.recv(4096)
                if not data:
                    break
                self.rest += data
        except (EOFError, ConnectionError):
            pass
        conn.close()


class Box:
    def __init__(self, path):
        self.path = path
        os.mkdir(os.path.join(path, "bin"))
        shutil.copy(QRAP, os.path.join(path, "qrap"))
        self.passts = []

    def socket_path(self, n):
        return os.path.join(self.path, f"passt_{n}.socket")

    def passt(self, n=1, **kw):
        p = Passt(self.socket_path(n), **kw)
        self.passts.append(p)
        return p

    def program(self, name, text):
        path = os.path.join(self.path, "bin", name)
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + text + "\n")
        os.chmod(path, 0o755)

    def qemu(self, name="qemu-kvm"):
        self.program(name, f'printf "%s\\n" {name} "$@"\n[ -e /proc/self/fd/5 ] && printf hello >&5; exit 7')

    def run(self, *args, path="/tmp/bin:/usr/bin:/bin", stdin=None):
        script = 'mount --bind "$1" /tmp && shift && exec "$@"'
        cmd = UNSHARE + ["sh", "-c", script, "sh", self.path, "env", f"PATH={path}", "/tmp/qrap", *args]
        r = subprocess.run(cmd, capture_output=True, text=True, input=stdin, timeout=60)
        for p in self.passts:
            if r.returncode in (0, 7) and not p.hold:
                p.join(timeout=5)
        return r


@pytest.fixture
def box(tmp_path):
    return Box(str(tmp_path))


# Probing


def checksum(data):
    s = sum(struct.unpack(f">{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


def test_probes(box):
    p = box.passt()
    box.qemu()
    r = box.run("-m", "1G")
    assert r.returncode == 7
    assert r.stderr == "Connected to /tmp/passt_1.socket\n"
    arp, ns = p.frames
    assert arp == ARP_PROBE
    assert len(ns) == 78
    assert ns[12:14] == b"\x86\xdd"
    version, length, proto, hops = struct.unpack(">IHBB", ns[14:22])
    assert (version, length, proto, hops) == (6 << 28, 24, 58, 255)
    assert ns[22:38] == socket.inet_pton(socket.AF_INET6, "::1")
    assert ns[54:56] == b"\x87\x00"
    assert checksum(ns[22:54] + struct.pack(">II", 24, 58) + ns[54:]) == 0xFFFF
    assert p.rest == b"hello"


def test_stream_stays_in_step(box):
    """Only the whole frame that answered is taken; the command reads the next from its start."""
    box.passt(reply=framed(REPLY) + framed(LATER))
    r = box.run("6", "sh", "-c", f"head -c {4 + len(LATER)} <&6")
    assert r.returncode == 0
    assert r.stdout.encode() == framed(LATER)


@pytest.mark.parametrize("reply", [b"", b"\0\0\0", framed(b"short"), b"\xff\xff\xff\xff" + bytes(100), framed(REPLY)[:-1]])
def test_no_good_answer(box, reply):
    done = threading.Event()
    box.passt(1, reply=reply, hold=done)
    p = box.passt(2)
    box.qemu()
    r = box.run("-m", "1G")
    done.set()
    assert r.returncode == 7
    first, second = r.stderr.splitlines()
    assert first.startswith("Probe of /tmp/passt_1.socket failed")
    assert second == "Connected to /tmp/passt_2.socket"
    assert p.rest == b"hello"


def test_busy_socket_is_skipped(box):
    """Nobody accepts: the connection sits in the backlog."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(box.socket_path(1))
    s.listen(5)
    box.passt(2)
    box.qemu()
    r = box.run("-m", "1G")
    assert r.returncode == 7
    assert "Probe of /tmp/passt_1.socket failed" in r.stderr
    assert "Connected to /tmp/passt_2.socket" in r.stderr


def test_stale_socket_is_skipped(box):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(box.socket_path(1))
    s.close()
    box.passt(3)
    box.qemu()
    r = box.run("-m", "1G")
    assert r.returncode == 7
    first, second = r.stderr.splitlines()
    assert first.startswith("connect: ") and first.endswith("Connection refused")
    assert second == "Connected to /tmp/passt_3.socket"


def test_resets_are_retried(box):
    p = box.passt(resets=4)
    box.qemu()
    r = box.run("-m", "1G")
    assert r.returncode == 7
    assert r.stderr == "Connected to /tmp/passt_1.socket\n"
    assert p.connections == 5


def test_resets_end(box):
    p = box.passt(resets=50)
    box.qemu()
    r = box.run("-m", "1G")
    assert r.returncode == 1
    assert p.connections == 50
    assert r.stderr.splitlines()[0] == "Probe of /tmp/passt_1.socket failed: Connection reset by peer"


def test_last_path(box):
    box.passt(99)
    box.qemu()
    assert box.run("-m", "1G").stderr == "Connected to /tmp/passt_99.socket\n"


def test_no_passt(box):
    box.qemu()
    r = box.run("-m", "1G")
    assert r.returncode == 1
    assert r.stdout == ""
    assert r.stderr.startswith("connect: No such file or directory\n")


# Forms of the command line


def test_command(box):
    p = box.passt()
    r = box.run("9", "sh", "-c", 'printf "%s " "$@"; printf bye >&9; exit 3', "x", "-netdev", "user,id=n", "-device", "e1000")
    assert r.returncode == 3
    assert r.stdout == "-netdev user,id=n -device e1000 "
    p.join(timeout=5)
    assert p.rest == b"bye"


def test_command_has_no_other_descriptor(box):
    box.passt()
    r = box.run("9", "sh", "-c", "for f in /proc/$$/fd/*; do readlink $f; done")
    assert r.returncode == 0
    assert r.stdout.count("socket:") == 1


@pytest.mark.parametrize("args", [[], ["5"], ["5", "no-such-program"], ["2", "sh"], ["0", "sh"], ["5", "/tmp"], ["5", ""]])
def test_usage(box, args):
    box.qemu()
    r = box.run(*args)
    assert r.returncode == 1
    assert r.stderr.startswith("Usage: ")


def test_descriptor_out_of_range(box):
    box.passt()
    r = box.run("1000000000", "true")
    assert r.returncode == 1
    assert "Bad file descriptor" in r.stderr


def test_no_qemu(box):
    box.passt()
    os.symlink("/usr/bin/env", os.path.join(box.path, "bin", "env"))
    if os.path.exists("/usr/libexec/qemu-kvm"):
        pytest.skip("this machine has it in the place that is always searched")
    r = box.run("-m", "1G", path="/tmp/bin")
    assert r.returncode == 1
    assert "no QEMU found" in r.stderr


def test_qemu_search_order(box):
    own = "qemu-system-" + os.uname().machine
    other = "qemu-system-s390x"
    for name in (other, own, "qemu-kvm"):
        box.qemu(name)
        r = box.run("-version", path="/tmp/bin:/usr/bin:/bin" if name == "qemu-kvm" else "/tmp/bin")
        assert r.stdout.splitlines()[0] == name


@pytest.mark.parametrize(
    "args",
    [
        ["-version"],
        ["--version"],
        ["-help"],
        ["-h"],
        ["-S", "-nodefaults", "-machine", "none,accel=kvm:tcg", "-nographic"],
        ["-M", "none"],
        ["-machine", "help"],
        ["-device", "help"],
        ["-device", "virtio-net-pci,help"],
        ["-netdev", "help"],
        ["-net", "?"],
        ["-nic", "model=help", "-version"],
    ],
)
def test_queries_need_no_passt(box, args):
    box.qemu()
    r = box.run(*args)
    assert r.returncode == 7
    assert r.stdout.splitlines() == ["qemu-kvm"] + args
    assert r.stderr == ""


# Arguments

NETDEV = ["-netdev", "socket,fd=5,id=hostnet0", "-device"]
PCI = "virtio-net-pci,netdev=hostnet0,x-txburst=4096"
CCW = "virtio-net-ccw,netdev=hostnet0,x-txburst=4096"
MMIO = "virtio-net-device,netdev=hostnet0,x-txburst=4096"

ARGS = [
    # nothing to leave out
    (["-m", "1G"], ["-m", "1G"], PCI),
    (["-m", "1G", "disk.img"], ["-m", "1G", "disk.img"], PCI),
    (["-M", "s390-ccw-virtio"], ["-M", "s390-ccw-virtio"], CCW),
    (["-machine", "type=s390-ccw-virtio-7.2,accel=tcg"], ["-machine", "type=s390-ccw-virtio-7.2,accel=tcg"], CCW),
    (["-machine", "microvm"], ["-machine", "microvm"], MMIO),
    (["-machine", "accel=kvm"], ["-machine", "accel=kvm"], PCI),
    (["-machine", "pc-q35-7.2,accel=kvm"], ["-machine", "pc-q35-7.2,accel=kvm"], PCI),
    (["-machine", '{"type": "s390-ccw-virtio"}'], ["-machine", '{"type": "s390-ccw-virtio"}'], CCW),
    # back ends, in all spellings
    (["-net", "user"], [], PCI),
    (["-net", "none"], [], PCI),
    (["--netdev", "user,id=n"], [], PCI),
    (["-netdev", '{"type":"user","id":"n"}'], [], PCI),
    (["-nic", "user"], [], PCI),
    (["-nic", "user,mac=52:54:00:00:00:01"], [], PCI + ",mac=52:54:00:00:00:01"),
    (["-net", "nic,model=e1000,macaddr=52:54:00:00:00:01", "-net", "user"], [], PCI + ",mac=52:54:00:00:00:01"),
    # interfaces: their place and identity stays
    (["-device", "e1000"], [], PCI),
    (["-device", "driver=e1000,bus=pci.0"], [], PCI + ",bus=pci.0"),
    (
        ["-machine", "pc-q35-7.2", "-netdev", "tap,fd=23,id=hostnet0"]
        + ["-device", "virtio-net-pci,netdev=hostnet0,id=net0,mac=52:54:00:12:34:56,bus=pci.1,addr=0x0"],
        ["-machine", "pc-q35-7.2"],
        PCI + ",id=net0,mac=52:54:00:12:34:56,bus=pci.1,addr=0x0",
    ),
    (
        ["-machine", "pc-i440fx-7.2", "-device", "rtl8139,netdev=n,addr=0x3,bus=pci.0,bootindex=1,romfile="],
        ["-machine", "pc-i440fx-7.2"],
        PCI + ",bootindex=1,bus=pci.0,addr=0x3",
    ),
    (
        ["-M", "q35", "-device", '{"driver":"e1000e","netdev":"n","id":"net0","bus":"rp1","addr":"0x0","bootindex":2}'],
        ["-M", "q35"],
        PCI + ",id=net0,bootindex=2,bus=rp1,addr=0x0",
    ),
    (["-device", ' { "driver" : "virtio-net-pci" , "mq":true, "addr" : "0x5" } '], [], PCI + ",addr=0x5"),
    (["-device", '{"host_mtu":1500,"a":[1,{"x":"]"}],"netdev":"n","driver":"unheard-of"}'], [], PCI),
    (["-device", '{"driver":"e1000","id":"a\\"b,c"}'], [], PCI + ',id=a"b,,c'),
    (["-device", "e1000,id=a,,b"], [], PCI + ",id=a,,b"),
    (["-device", "unheard-of,netdev=n,addr=4"], [], PCI + ",addr=4"),
    (["-device", "usb-net,netdev=n,bus=usb.0,mac=52:54:00:00:00:01"], [], PCI + ",mac=52:54:00:00:00:01"),
    (
        ["-M", "s390-ccw-virtio", "-device", "virtio-net-ccw,netdev=n,devno=fe.0.0001,id=net0"],
        ["-M", "s390-ccw-virtio"],
        CCW + ",id=net0,devno=fe.0.0001",
    ),
    (["-M", "s390-ccw-virtio", "-device", "virtio-net-pci,netdev=n,bus=pci.0"], ["-M", "s390-ccw-virtio"], CCW),
    (["-M", "microvm", "-device", "virtio-net-device,netdev=n,bus=x"], ["-M", "microvm"], MMIO),
    # the first of several
    (["-device", "e1000,addr=3", "-device", "e1000,addr=4,id=z"], [], PCI + ",addr=3"),
    (["-device", "e1000", "-device", "virtio-net-pci,addr=4"], [], PCI),
    # what is left alone
    (["-device", "virtio-blk-pci,drive=d"], ["-device", "virtio-blk-pci,drive=d"], PCI),
    (["-device", '{"driver":"virtio-rng-pci","id":"rng0"}'], ["-device", '{"driver":"virtio-rng-pci","id":"rng0"}'], PCI),
    (["-device", "{broken"], ["-device", "{broken"], PCI),
    (["-device", "virtio-serial,id=netdev"], ["-device", "virtio-serial,id=netdev"], PCI),
    (["-append", "-netdev", "-m", "1G"], ["-append", "-netdev", "-m", "1G"], PCI),
    (["-append", "help"], ["-append", "help"], PCI),
    (["-drive", "file=-net"], ["-drive", "file=-net"], PCI),
    (["-m", "1G", "-netdev"], ["-m", "1G", "-netdev"], PCI),
    (["-network", "x"], ["-network", "x"], PCI),
    (["---net", "x", "-", "--", "net"], ["---net", "x", "-", "--", "net"], PCI),
]


@pytest.mark.parametrize("args,kept,device", ARGS)
def test_arguments(box, args, kept, device):
    box.passt()
    box.qemu()
    r = box.run(*args)
    assert r.returncode == 7, r.stderr
    assert r.stdout.splitlines() == ["qemu-kvm"] + kept + NETDEV + [device]


def test_machine_from_program(box):
    box.passt()
    box.qemu("qemu-system-s390x")
    r = box.run("-m", "1G", path="/tmp/bin")
    assert r.stdout.splitlines() == ["qemu-system-s390x", "-m", "1G"] + NETDEV + [CCW]


def test_long_properties(box):
    """What has no room is left out as a whole."""
    box.passt()
    box.qemu()
    r = box.run("-device", "e1000,id=" + "," * 5000 + "x,addr=3")
    assert r.returncode == 7
    assert r.stdout.splitlines()[-1].endswith(",addr=3")


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="no QEMU")
@pytest.mark.parametrize(
    "machine,nic",
    [
        (["-machine", "q35", "-device", "pcie-root-port,id=rp1,chassis=1"], '{"driver":"e1000e","netdev":"n","bus":"rp1","addr":"0x0"}'),
        (["-machine", "pc"], "rtl8139,netdev=n,bus=pci.0,addr=0x7,mac=52:54:00:00:00:01,id=net7"),
        (["-machine", "pc"], "usb-net,netdev=n"),
    ],
)
def test_real_qemu_takes_them(box, machine, nic):
    box.passt()
    common = ["-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "64", "-monitor", "stdio"]
    qemu = shutil.which("qemu-system-x86_64")
    box.program("qemu-kvm", f'exec {qemu} "$@"')
    r = box.run(*common, *machine, "-netdev", "user,id=n", "-device", nic, stdin="info network\ninfo pci\nquit\n")
    assert r.returncode == 0, r.stderr
    assert "hostnet0" in r.stdout
    assert "user" not in r.stdout.split("info network")[1].split("info pci")[0]
