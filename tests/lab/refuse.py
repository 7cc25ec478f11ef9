# SPDX-License-Identifier: MIT
"""
Runs a command for which some ioctl() requests, or system calls, fail, as on a kernel that doesn't know them, or in a container whose
filter forbids them: refuse.py ERRNO REQUEST|NAME... -- COMMAND...
"""
import ctypes
import os
import platform
import struct
import sys

TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETIFF = 0x400454D0, 0x400454D8, 0x400454CA

_NUMBERS = {  # of x86_64, and of the architectures that share a table
    "ioctl": (16, 29), "unshare": (272, 97), "pivot_root": (155, 41), "mount": (165, 40), "seccomp": (317, 277), "prctl": (157, 167),
    "landlock_create_ruleset": (444, 444),
}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of classic BPF
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_AT_NUMBER, _AT_REQUEST = 0, 24  # in struct seccomp_data; the low half of the second argument


def prefix(err, *requests):
    """What to put in front of a command."""
    return ["/usr/bin/python3", os.path.abspath(__file__), str(err), *map(str, requests), "--"]


def _number(name):
    return _NUMBERS[name][platform.machine() != "x86_64"]


def _filter(err, words):
    """If it is one of the calls, or ioctl() with one of the requests, it fails."""
    requests = [int(w) for w in words if w.isdigit()]
    calls = [_number(w) for w in words if not w.isdigit()]
    code = [(_LOAD, 0, 0, _AT_NUMBER)]
    code += [(_IF_EQUAL, len(calls) - i + len(requests) + 2, 0, call) for i, call in enumerate(calls)]
    code += [(_IF_EQUAL, 0, len(requests) + 1, _number("ioctl")), (_LOAD, 0, 0, _AT_REQUEST)]
    code += [(_IF_EQUAL, len(requests) - i, 0, request) for i, request in enumerate(requests)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | err)]
    return b"".join(struct.pack("HBBI", *c) for c in code), len(code)


def _main(argv):
    at = argv.index("--")
    code, n = _filter(int(argv[0]), argv[1:at])
    text = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", n, ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0):
        sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
    os.execvp(argv[at + 1], argv[at + 1 :])


if __name__ == "__main__":
    _main(sys.argv[1:])
