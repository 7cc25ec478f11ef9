# SPDX-License-Identifier: MIT
"""
The guest of guest.py behind a front end of its own: vhost-user with two split rings (virtio 1.2 section 2.7), in memory that both
processes see. Frames are not left unfinished, neither way.
"""
import collections
import mmap
import os
import socket
import struct
import time

from .guest import Guest
from .wait import LIMIT, readable, until

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL = 8, 9, 10, 12, 13
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 15, 16, 18
VERSION_1, PROTOCOL_FEATURES = 1 << 32, 1 << 30

NAMES = 64  # chains of a ring, each of one buffer
ROOM = 0x11000  # of a buffer: the largest frame there is
RING = 0x1000  # of a ring: descriptors, behind them what is available, behind that what is used
AVAIL, USED = 0x400, 0x800
HEADER = 12  # struct virtio_net_hdr_v1
GUEST, USER = 0x40000000, 0x7F0000000000  # where the memory is, as the guest and as the front end say
RX, TX = 0, 1
LOOK = 0.05  # seconds until a look at what is used, where nobody told of it


class Front:
    """As much of a front end as says hello."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(LIMIT)

    def tell(self, request, body=b"", *fds):
        socket.send_fds(self.sock, [struct.pack("=III", request, 1, len(body)) + body], fds)

    def ask(self, request):
        """A request without a body, and the number that is the answer."""
        self.tell(request)
        header = struct.unpack("=III", self.sock.recv(12, socket.MSG_WAITALL))
        assert header == (request, 5, 8)
        return struct.unpack("=Q", self.sock.recv(8, socket.MSG_WAITALL))[0]


class _Ring:
    def __init__(self, memory, number):
        self.at = number * RING
        self.buffers = 2 * RING + number * NAMES * ROOM
        self._memory = memory
        # A number is written at once, and not as bytes.
        self._half = memoryview(memory).cast("H")
        self._added = self._seen = 0
        self.free = collections.deque(range(NAMES))
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)

    def add(self, name, size, writable):
        """Makes a buffer available."""
        struct.pack_into("=QIHH", self._memory, self.at + 16 * name, GUEST + self.place(name), size, 2 * writable, 0)
        avail = (self.at + AVAIL) // 2
        self._half[avail + 2 + self._added % NAMES] = name
        self._added += 1
        self._half[avail + 1] = self._added & 0xFFFF
        os.eventfd_write(self.kick, 1)

    def used(self):
        """The next buffer that comes back, and how much was written to it; None: there is none now."""
        if self._half[(self.at + USED) // 2 + 1] == self._seen & 0xFFFF:
            return None
        name, size = struct.unpack_from("=II", self._memory, self.at + USED + 4 + 8 * (self._seen % NAMES))
        self._seen += 1
        return name, size

    def place(self, name):
        return self.buffers + name * ROOM

    def close(self):
        self._half.release()
        os.close(self.kick)
        os.close(self.call)


class VhostGuest(Guest):
    def __init__(self, where, **kw):
        super().__init__(where, **kw)
        self.front = Front(self.sock)
        size = 2 * RING + 2 * NAMES * ROOM
        self._fd = os.memfd_create("guest")
        os.ftruncate(self._fd, size)
        self._memory = mmap.mmap(self._fd, size)
        self._rings = [_Ring(self._memory, number) for number in (RX, TX)]
        self._begin(size)

    def _begin(self, size):
        tell = self.front.tell
        tell(SET_OWNER)
        assert self.front.ask(GET_FEATURES) & (VERSION_1 | PROTOCOL_FEATURES) == VERSION_1 | PROTOCOL_FEATURES
        self.front.ask(GET_PROTOCOL_FEATURES)
        tell(SET_PROTOCOL_FEATURES, struct.pack("=Q", 0))
        tell(SET_FEATURES, struct.pack("=Q", VERSION_1 | PROTOCOL_FEATURES))
        tell(SET_MEM_TABLE, struct.pack("=IIQQQQ", 1, 0, GUEST, size, USER, 0), self._fd)
        for number, ring in enumerate(self._rings):
            at = USER + ring.at
            tell(SET_VRING_NUM, struct.pack("=II", number, NAMES))
            tell(SET_VRING_ADDR, struct.pack("=IIQQQQ", number, 0, at, at + USED, at + AVAIL, 0))
            tell(SET_VRING_BASE, struct.pack("=II", number, 0))
            tell(SET_VRING_CALL, struct.pack("=Q", number), ring.call)
            tell(SET_VRING_KICK, struct.pack("=Q", number), ring.kick)
            tell(SET_VRING_ENABLE, struct.pack("=II", number, 1))
        while self._rings[RX].free:
            self._rings[RX].add(self._rings[RX].free.popleft(), ROOM, True)
        # The answer comes behind all of that.
        self.front.ask(GET_FEATURES)

    def _reclaim(self):
        """Buffers of frames that were taken; whether there is one."""
        ring = self._rings[TX]
        while used := ring.used():
            ring.free.append(used[0])
        return bool(ring.free)

    def send(self, *packets):
        ring = self._rings[TX]
        for p in packets:
            until(self._reclaim, "the frames before this one are taken")
            name, frame = ring.free.popleft(), bytes(HEADER) + bytes(p)
            self._memory[ring.place(name) : ring.place(name) + len(frame)] = frame
            ring.add(name, len(frame), False)

    def _take(self):
        ring = self._rings[RX]
        used = ring.used()
        if not used:
            return None
        name, size = used
        assert HEADER + 14 <= size <= ROOM, f"frame of {size} bytes with its header"
        frame = bytes(self._memory[ring.place(name) + HEADER : ring.place(name) + size])
        ring.add(name, ROOM, True)
        return frame

    def _wait(self, seconds):
        call = self._rings[RX].call
        ready = readable(min(seconds, LOOK), call, self.sock)
        if call in ready:
            os.eventfd_read(call)
        # Nobody has asked anything: it is the end.
        self.closed = self.sock in ready

    def recv_raw(self, limit):
        end = time.monotonic() + limit
        while True:
            frame = self._take()
            left = end - time.monotonic()
            if frame or self.closed or left <= 0:
                return frame
            self._wait(left)

    def forget(self):
        n = 0
        while self._take():
            n += 1
        return n

    def close(self):
        super().close()
        for ring in self._rings:
            ring.close()
        self._memory.close()
        os.close(self._fd)
