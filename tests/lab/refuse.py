# SPDX-License-Identifier: MIT
"""
Runs a command for which some ioctl() requests, or system calls, fail, as on a kernel that doesn't know them, or in a container whose
filter forbids them: refuse.py ERRNO REQUEST|NAME[:ARGUMENT]... -- COMMAND...
ARGUMENT is the first one, or another one that tells more of the call, as the length of a message does.
"""
import ctypes
import os
import platform
import struct
import sys

TUNSETOFFLOAD, TUNSETVNETHDRSZ, TUNSETIFF = 0x400454D0, 0x400454D8, 0x400454CA
NO_FILTER = ["seccomp", "prctl:22"]  # PR_SET_SECCOMP is how it was done before there was a call for it
CLOSED_MEMORY = "prctl:4"  # PR_SET_DUMPABLE
NEW_MOUNTS = "unshare:131072"  # CLONE_NEWNS
ALL_LAYERS = ["unshare", CLOSED_MEMORY, "landlock_create_ruleset", *NO_FILTER]

# Somebody without any capability in the namespaces that he is in.
USER = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
# The same, and not as root, who may give no user namespace a root of its own without capabilities.
PLAIN = ["unshare", "-U", "--map-user=1000", "--map-group=1000", *USER]

_NUMBERS = {  # of x86_64, and of the architectures that share a table
    "ioctl": (16, 29), "unshare": (272, 97), "pivot_root": (155, 41), "mount": (165, 40), "seccomp": (317, 277), "prctl": (157, 167),
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
    "socket": (41, 198), "sendto": (44, 206),
}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of classic BPF
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_AT_NUMBER, _AT_ARGUMENT = 0, (16, 24, 32)  # in struct seccomp_data; the low halves of the first arguments
_WHICH = {"ioctl": 1, "socket": 1, "sendto": 2}  # not the first one


def prefix(err, *requests):
    """What to put in front of a command."""
    return ["/usr/bin/python3", os.path.abspath(__file__), str(err), *map(str, requests), "--"]


def _number(name):
    return _NUMBERS[name][platform.machine() != "x86_64"]


def _test(word, action):
    """Returns action if it is the call, and its argument the one that was given."""
    name, _, value = word.partition(":") if not word.isdigit() else ("ioctl", ":", word)
    code = [(_LOAD, 0, 0, _AT_NUMBER), (_IF_EQUAL, 0, 3 if value else 1, _number(name))]
    if value:
        code += [(_LOAD, 0, 0, _AT_ARGUMENT[_WHICH.get(name, 0)]), (_IF_EQUAL, 0, 1, int(value))]
    return [*code, (_RETURN, 0, 0, action)]


def _filter(err, words):
    code = [step for word in words for step in _test(word, _ERRNO | err)]
    code.append((_RETURN, 0, 0, _ALLOW))
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
