"""Restricts this process with the Linux kernel's seccomp and Landlock, which need no privilege.

seccomp denies the system calls that create processes, open sockets, access other processes or raise limits.
Landlock denies access to files outside the named folders. Both are permanent, are inherited by children and
apply to root as well. `confine` returns the ones in effect; where the kernel or the architecture supports neither,
the list is empty.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence

EPERM, ENOSYS = 1, 38
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER_MODE = 38, 22, 2
"""`prctl` options and the seccomp mode (linux/prctl.h, linux/seccomp.h)."""

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Machine to its column in `DENIED` and its audit number (linux/audit.h)."""
CLONE, CLONE3 = (56, 220), 435
CLONE_THREAD = 0x10000
DENIED = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "kill": (62, 129),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "setrlimit": (160, 164),
    "prlimit64": (302, 261),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "add_key": (248, 217),
    "keyctl": (250, 219),
}
"""System call to its numbers on x86_64 and aarch64, None where it does not exist."""

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
READ = READ_FILE | READ_DIR
RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""Landlock's version to all access rights that it has."""


def confine(readable: Sequence[str], writable: str) -> list[str]:
    """Restrict processes, sockets and files; returns the names of the mechanisms in effect.

    Parameters
    ----------
    readable:
        Folders and files that stay readable.
    writable:
        The folder that stays writable.
    """
    if platform.system() != "Linux":
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return []
    layers = ["landlock"] if _landlock(libc, readable, writable) else []
    # Last, since it denies system calls that Landlock needs.
    return [*layers, "seccomp"] if _seccomp(libc) else layers


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("first", ctypes.POINTER(_Instruction)))


class _Rules(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def _seccomp(libc: ctypes.CDLL) -> bool:
    steps = _filter(platform.machine())
    if not steps:
        return False
    program = _Program(len(steps), (_Instruction * len(steps))(*steps))
    return bool(libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: str) -> list[_Instruction]:
    """A classic BPF program over a system call's number, architecture and first argument."""
    if machine not in MACHINES:
        return []
    column, audit = MACHINES[machine]
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, absent = 0x7FFF0000, 0x00050000 | EPERM, 0x00050000 | ENOSYS
    numbers = [found for row in DENIED.values() if (found := row[column]) is not None]
    steps = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, audit),
        (give, 0, 0, refuse),
        (load, 0, 0, 0),  # the number
        (at_least, 0, 1, 0x40000000),  # x86's second numbering of the same calls
        (give, 0, 0, refuse),
        (equal, 0, 1, CLONE3),
        (give, 0, 0, absent),  # the C library then falls back on clone
    ]
    for number in numbers:
        steps += [(equal, 0, 1, number), (give, 0, 0, refuse)]
    steps += [
        (equal, 0, 3, CLONE[column]),
        (load, 0, 0, 16),  # its flags: a thread may be made, a process may not
        (any_bit, 1, 0, CLONE_THREAD),
        (give, 0, 0, refuse),
        (give, 0, 0, allow),
    ]
    return [_Instruction(*step) for step in steps]


def _landlock(libc: ctypes.CDLL, readable: Sequence[str], writable: str) -> bool:
    version = libc.syscall(LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = RIGHTS[min(version, max(RIGHTS))]
    handled = _Rules(rights)
    rules = libc.syscall(LANDLOCK_CREATE, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if rules < 0:
        return False
    allowed = [(writable, rights & ~EXECUTE), ("/dev/null", READ_FILE | WRITE_FILE)]
    try:
        for path, rights_there in [*((path, READ) for path in readable), *allowed]:
            _allow(libc, rules, path, rights_there)
        return bool(libc.syscall(LANDLOCK_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        on_file = rights if os.path.isdir(path) else rights & ~READ_DIR  # noqa: PTH112  no pathlib here
        rule = _PathRule(on_file, descriptor)
        libc.syscall(LANDLOCK_ADD, rules, 1, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)
