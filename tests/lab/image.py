# SPDX-License-Identifier: MIT
"""
Kernel and initramfs of a small Linux guest: the distribution's kernel package, unpacked and not installed, busybox, and copies of real
client programs with the libraries that they need. Everything is kept in a cache directory, keyed by what it was made from.
"""
import fcntl
import glob
import hashlib
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.environ.get("PASST_VM_CACHE") or os.path.join(TESTS, "vm", "cache")
INIT = os.path.join(TESTS, "vm", "init")
NETTOOL = os.path.join(TESTS, "vm", "nettool.c")

MODULES = ["virtio_pci", "virtio_net", "virtio_rng", "af_packet", "ipv6"]
PROGRAMS = ["flock", "dhclient", "ip", "ss", "nstat", "ping", "traceroute", "rdisc6", "socat", "curl", "iperf3", "ethtool"]
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"

# First that the distribution has; each depends on the package that holds the kernel, or is it.
KERNELS = {
    "x86_64": ["linux-image-cloud-amd64", "linux-image-virtual", "linux-image-generic", "linux-image-amd64"],
    "aarch64": ["linux-image-cloud-arm64", "linux-image-virtual", "linux-image-generic", "linux-image-arm64"],
}


def which(program):
    return shutil.which(program, path=SBIN)


def _run(*argv, **kw):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **kw)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: status {done.returncode}\n{done.stderr}")
    return done.stdout


def _depends(package):
    out = subprocess.run(["apt-cache", "depends", "--important", package], capture_output=True, text=True, check=False).stdout
    return re.findall(r"^\s*\|?Depends: ([a-z0-9.+-]+)$", out, re.M)


def kernel_packages():
    """Names of the packages that hold the kernel and its modules."""
    for meta in KERNELS[platform.machine()]:
        image = next((p for p in _depends(meta) if re.match(r"linux-image-(unsigned-)?\d", p)), None)
        if image:
            return [image] + [p for p in _depends(image) if re.match(r"linux-modules-\d", p)]
    raise RuntimeError("no kernel package known to apt: run apt-get update once")


def _unpack_kernel(packages, target):
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        try:
            _run("apt-get", "-qq", "download", *packages, cwd=tmp)
        except RuntimeError:
            # The lists may be older than the archive.
            _run(*(["sudo", "-n"] if os.getuid() else []), "apt-get", "-qq", "update")
            _run("apt-get", "-qq", "download", *packages, cwd=tmp)
        tree = os.path.join(tmp, "tree")
        for deb in os.listdir(tmp):
            if deb.endswith(".deb"):
                _run("dpkg-deb", "-x", os.path.join(tmp, deb), tree)
        if os.path.isdir(os.path.join(tree, "usr/lib/modules")):
            os.makedirs(os.path.join(tree, "lib"), exist_ok=True)
            os.rename(os.path.join(tree, "usr/lib/modules"), os.path.join(tree, "lib/modules"))
        version = os.listdir(os.path.join(tree, "lib/modules"))[0]
        _run(which("depmod"), "-b", tree, version)
        os.rename(tree, target)


def kernel():
    """(vmlinuz, modules directory); downloads them when they are not in the cache."""
    packages = kernel_packages()
    tree = os.path.join(CACHE, packages[0])
    if not os.path.isdir(tree):
        _unpack_kernel(packages, tree)
    boot = os.path.join(tree, "boot")
    image = next(f for f in os.listdir(boot) if f.startswith("vmlinuz"))
    modules = os.path.join(tree, "lib/modules")
    return os.path.join(boot, image), os.path.join(modules, os.listdir(modules)[0])


def _module_files(modules):
    """Files of MODULES and what they need, in the order in which they load; built-in ones are left out."""
    needs = {}
    with open(os.path.join(modules, "modules.dep"), encoding="ascii") as f:
        for line in f:
            path, _, deps = line.partition(":")
            needs[path] = deps.split()
    name = {re.sub(r"\.ko.*", "", os.path.basename(p)).replace("-", "_"): p for p in needs}
    order = []

    def add(path):
        for dep in needs[path]:
            add(dep)
        if path not in order:
            order.append(path)

    for m in MODULES:
        if m in name:
            add(name[m])
    return order


def _libraries(program):
    """Absolute paths of the shared libraries and the loader that a program names."""
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(?:=> |^\s+)(/\S+)", out, re.M)


class _Tree:
    """The root of the guest as it is put together."""

    def __init__(self, root):
        self.root = root
        for d in "bin sbin usr/bin usr/sbin proc sys dev tmp run root etc var/lib/dhcp var/run usr/share/udhcpc lib/modules".split():
            os.makedirs(os.path.join(root, d), exist_ok=True)

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def text(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)

    def copy(self, source, name):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        shutil.copyfile(source, self.path(name))
        os.chmod(self.path(name), stat.S_IMODE(os.stat(source).st_mode) | 0o500)

    def program(self, path):
        self.copy(path, os.path.join("/usr/bin", os.path.basename(path)))
        for lib in _libraries(path):
            self.copy(lib, lib)

    def modules(self, directory):
        order = []
        for path in _module_files(directory):
            base = os.path.basename(path)
            self.copy(os.path.join(directory, path), f"lib/modules/{base}")
            if base.endswith(".xz") or base.endswith(".zst"):
                _run("xz" if base.endswith(".xz") else "zstd", "-q", "-d", self.path(f"lib/modules/{base}"))
                base = base.rsplit(".", 1)[0]
            order.append(base)
        self.text("lib/modules/order", "".join(o + "\n" for o in order))


def _fill(tree, modules):
    busybox = which("busybox")
    tree.copy(busybox, "bin/busybox")
    for applet in _run(busybox, "--list").split():
        if applet != "busybox":
            os.symlink("/bin/busybox", tree.path(f"bin/{applet}"))
    for program in filter(None, map(which, PROGRAMS)):
        tree.program(program)
    _run("gcc", "-O2", "-static", "-o", tree.path("usr/bin/nettool"), NETTOOL)
    for script in "dhclient-script", "udhcpc-script":
        tree.copy(os.path.join(TESTS, "vm", script), f"etc/{script}")
        os.chmod(tree.path(f"etc/{script}"), 0o755)
    tree.modules(modules)
    tree.copy(INIT, "init")
    os.chmod(tree.path("init"), 0o755)
    tree.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    tree.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    tree.text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    tree.text("etc/nsswitch.conf", "hosts: files dns\n")
    tree.text("etc/resolv.conf", "")
    tree.text("etc/hostname", "guest\n")
    tree.text("etc/dhclient.conf", "request subnet-mask, routers, domain-name-servers, interface-mtu;\nalso request dhcp6.name-servers;\n")


def _key(packages):
    """Digest of all that goes into the initramfs."""
    h = hashlib.sha256(repr((packages, MODULES, PROGRAMS)).encode())
    sources = [__file__, INIT, NETTOOL] + [os.path.join(TESTS, "vm", s) for s in ("dhclient-script", "udhcpc-script")]
    for source in sources + list(filter(None, map(which, ["busybox"] + PROGRAMS))):
        with open(source, "rb") as f:
            h.update(f.read())
    return h.hexdigest()[:16]


def _make_initramfs(modules, target):
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        root = os.path.join(tmp, "root")
        _fill(_Tree(root), modules)
        # The C library loads these by itself, ldd does not know.
        for lib in "libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2":
            for d in f"/lib/{platform.machine()}-linux-gnu", "/lib64":
                if os.path.exists(f"{d}/{lib}"):
                    _Tree(root).copy(f"{d}/{lib}", f"{d}/{lib}")
        names = _run("find", ".", cwd=root)
        with open(os.path.join(tmp, "cpio"), "wb") as f:
            subprocess.run(["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet"], input=names.encode(), stdout=f, cwd=root, check=True)
        os.rename(os.path.join(tmp, "cpio"), target)


def user_mode():
    """As kernel(), of User-Mode Linux as the distribution's package has it; None if that is not installed."""
    modules = sorted(glob.glob("/usr/lib/uml/modules/*"))
    image = which("linux.uml")
    return (image, modules[-1]) if image and modules else None


def get(source=kernel):
    """(kernel, initramfs) of kernel() or user_mode(), made when they are not there yet."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        image, modules = source()
        initramfs = os.path.join(CACHE, f"initramfs-{_key((image, modules))}.cpio")
        if not os.path.exists(initramfs):
            _make_initramfs(modules, initramfs)
        return image, initramfs


if __name__ == "__main__":
    print(*get())
