"""What an instance of an application may touch, taken away before its code is loaded: the kernel holds it to
what it needs, whatever the code does.

It reads its own folder, the interpreter and the system's libraries; it writes to a folder for what is
temporary. It sees no file of the platform beside its own certificates, reaches no process but its own
children with signals or by /proc, listens on no port but its own, opens no unix socket (the keeper and the
edge take orders on some), and cannot make namespaces, load modules or trace anybody. Each is kept where the
kernel has it: Landlock since 5.13 (ports 6.7, signals 6.12), seccomp (syscalls(2)).
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from troth.hosting.instance_file import InstanceFile
from troth.hosting.own_user import become, empty_bounding_set

_READ_FILE, _WRITE_FILE, _READ_FOLDER, _EXECUTE = 1 << 2, 1 << 1, 1 << 3, 1 << 0
_TRUNCATE, _REFER, _IOCTL = 1 << 14, 1 << 13, 1 << 15
_OF_FILES = _READ_FILE | _WRITE_FILE | _EXECUTE | _TRUNCATE | _IOCTL
_EVERYTHING = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Rights over files that each version of Landlock knows (linux/landlock.h)."""

_READ = _READ_FILE | _READ_FOLDER | _EXECUTE
_BIND_TCP = 1
_SCOPES = 3
"""Abstract unix sockets and signals."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH, _PORT = 1, 2
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_DESCRIPTORS = 8192

_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/proc", "/sys/devices/system/cpu"),
    *(f"/etc/{name}" for name in ("alternatives", "ca-certificates", "fonts", "pki", "ssl", "ld.so.conf.d")),
    *(f"/etc/{name}" for name in ("group", "host.conf", "hosts", "gai.conf", "ld.so.cache", "ld.so.conf")),
    *(f"/etc/{name}" for name in ("localtime", "mime.types", "nsswitch.conf", "os-release", "passwd")),
    *(f"/etc/{name}" for name in ("protocols", "resolv.conf", "services", "timezone")),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    """What may be touched: `listed` folders only show the names in them, `port` is the one to listen on."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    listed: tuple[Path, ...]
    port: int


def grants_of(instance: InstanceFile, python: Iterable[Path]) -> Grants:
    """What an instance needs; `python` are the folders of the interpreter and of what it imports."""
    files = (instance.certificate, instance.key, instance.client_ca, *_named_files(instance))
    read: list[Path] = []
    listed: list[Path] = []
    forbidden = instance.forbidden.resolve() if instance.forbidden is not None else None
    own = instance.folder.resolve()
    if forbidden is not None and own.is_relative_to(forbidden):
        read.append(own)  # a release that the platform keeps among its own files
    for folder in (own, *python):
        whole, names = without(folder, forbidden)
        read += whole
        listed += names
    return Grants(
        read=(*dict.fromkeys((*read, *map(Path, _SYSTEM))), *files),
        write=tuple(filter(None, (instance.pulse, instance.temporary, *map(Path, _DEVICES)))),
        listed=tuple(listed),
        port=instance.port,
    )


def without(folder: Path, forbidden: Path | None) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """A folder without a forbidden one below it: the paths that may be read whole, and the folders on the way
    whose names alone may be listed. Rights go down a tree and cannot be taken back below: what lies beside
    the way is named one by one, and what is made there later stays out of reach."""
    if forbidden is not None and folder.is_relative_to(forbidden):
        return (), ()
    if forbidden is None or not forbidden.is_relative_to(folder):
        return (folder,), ()
    read: tuple[Path, ...] = ()
    listed: tuple[Path, ...] = (folder,)
    for child in sorted(folder.iterdir()):
        more, names = without(child, forbidden)
        read, listed = (*read, *more), (*listed, *names)
    return read, listed


def confine(instance: InstanceFile) -> tuple[str, ...]:
    """Give up everything that this process does not need, for good. Call it before any thread is started.

    Returns what holds now, in words for the log. Raises OSError when the kernel has a means and refuses it:
    an application that was meant to be confined must not run free.
    """
    held = [_limit(), become(instance, _python()), _drop_capabilities()]
    _call(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    if instance.kind == "app":
        held += [_restrict_files(grants_of(instance, _python())), _restrict_calls()]
    return tuple(filter(None, held))


def landlock_version() -> int:
    """The version of Landlock that this kernel has; 0 for none."""
    return max(0, _libc().syscall(_CREATE_RULESET, None, 0, 1))


def _named_files(instance: InstanceFile) -> tuple[Path, ...]:
    names = ("TROTH_API_CA", "TROTH_API_CERTIFICATE", "TROTH_API_KEY")
    return tuple(Path(instance.environment[name]) for name in names if name in instance.environment)


def _python() -> tuple[Path, ...]:
    found = (sys.prefix, sys.base_prefix, *sys.path)
    return tuple(dict.fromkeys(Path(name).resolve() for name in found if name and Path(name).exists()))


def _limit() -> str:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return f"{most} descriptors"


def _drop_capabilities() -> str:
    """As root: without them root is a user that owns files, and no more."""
    if os.geteuid() != 0:
        return ""
    empty_bounding_set()
    header = struct.pack("=Ii", 0x20080522, 0)
    _call(_libc().capset(header, bytes(24)), "capset")
    return "no capabilities"


def _restrict_files(grants: Grants) -> str:
    version = landlock_version()
    if version == 0:
        return "no Landlock in this kernel: files are NOT restricted"
    handled = _EVERYTHING[max(known for known in _EVERYTHING if known <= version)]
    attributes = struct.pack(
        "=QQQ", handled, _BIND_TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _call(_libc().syscall(_CREATE_RULESET, attributes, size, 0), "landlock_create_ruleset")
    try:
        _allow(ruleset, grants.read, _READ & handled)
        _allow(ruleset, grants.write, handled & ~_EXECUTE)
        _allow(ruleset, grants.listed, _READ_FOLDER)
        if version >= 4:
            rule = struct.pack("=QQ", _BIND_TCP, grants.port)
            _call(_libc().syscall(_ADD_RULE, ruleset, _PORT, rule, 0), "landlock_add_rule")
        _call(_libc().syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    return f"files by Landlock {version}"


def _allow(ruleset: int, paths: Iterable[Path], rights: int) -> None:
    for path in paths:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # not every system has every folder
        try:
            allowed = rights if path.is_dir() else rights & _OF_FILES
            rule = struct.pack("=Qi", allowed, descriptor)
            _call(_libc().syscall(_ADD_RULE, ruleset, _PATH, rule, 0), f"landlock_add_rule({path})")
        finally:
            os.close(descriptor)


def _restrict_calls() -> str:
    known = _CALLS.get(platform.machine())
    if known is None:
        return "no list of system calls for this processor: they are NOT restricted"
    program = _filter(known)
    code = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(code))
    _call(_libc().prctl(_PR_SET_SECCOMP, 2, ctypes.byref(header), 0, 0), "prctl(PR_SET_SECCOMP)")
    return "system calls by seccomp"


class _Calls(msgspec.Struct, frozen=True):
    """One processor: its audit number, those of `socket`, `clone` and `clone3`, and of what is refused."""

    audit: int
    socket: int
    clone: int
    clone3: int
    refused: tuple[int, ...]


_CALLS = {
    "x86_64": _Calls(
        0xC000003E,
        41,
        56,
        435,
        (
            *(101, 155, 161, 163, 165, 166, 167, 168, 169, 175, 176, 246, 248, 249, 250, 272, 298, 304),
            *(308, 310, 311, 313, 320, 321, 323, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442),
        ),
    ),
    "aarch64": _Calls(
        0xC00000B7,
        198,
        220,
        435,
        (
            *(39, 40, 41, 51, 89, 97, 104, 105, 106, 117, 142, 217, 218, 219, 224, 225, 241, 265, 268),
            *(270, 271, 273, 280, 282, 294, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442),
        ),
    ),
}
"""ptrace, pivot_root, chroot, acct, mount, umount2, swapon, swapoff, reboot, init_module, delete_module,
kexec_load, add_key, request_key, keyctl, unshare, perf_event_open, open_by_handle_at, setns,
process_vm_readv, process_vm_writev, finit_module, kexec_file_load, bpf, userfaultfd, io_uring_*, open_tree,
move_mount, fsopen, fsconfig, fsmount, fspick, pidfd_getfd, process_madvise, mount_setattr."""

_NEW_NAMESPACES = 0x7E020000 | 0x00000080
_UNIX = 1
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026
"""Go on; EPERM; ENOSYS, after which libraries fall back to the older call."""


def _filter(calls: _Calls) -> bytes:
    """A classic BPF program over struct seccomp_data: number at 0, architecture at 4, arguments from 16."""
    steps: list[bytes] = [
        _step(_LOAD, 4),
        _step(_EQUAL, calls.audit, 1, 0),
        _step(_RETURN, _REFUSE),
        _step(_LOAD, 0),
        _step(_AT_LEAST, 0x40000000, 0, 1),  # the x32 calls have other numbers for the same
        _step(_RETURN, _REFUSE),
        _step(_EQUAL, calls.clone3, 0, 1),
        _step(_RETURN, _UNKNOWN),
    ]
    for number in calls.refused:
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE)]
    steps += [
        _step(_EQUAL, calls.socket, 0, 4),
        _step(_LOAD, 16),
        _step(_EQUAL, _UNIX, 0, 1),
        _step(_RETURN, _REFUSE),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, calls.clone, 0, 3),
        _step(_LOAD, 16),
        _step(_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _step(_RETURN, _REFUSE),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
