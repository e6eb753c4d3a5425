"""Restricts this process with the Linux kernel's seccomp and Landlock, which need no privilege.

seccomp denies the system calls that create processes, open sockets, access other processes, raise limits, make
devices, set clocks or priorities, or change a file's owner, mode, times and attributes (for which Landlock has no
right, and which reach a foreign file through a descriptor that is open for reading).
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
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "iopl": (172, None),
    "ioperm": (173, None),
}
"""System call to its numbers on x86_64 and aarch64, None where it does not exist."""

IOCTL = (16, 29)
FLAG_REQUESTS = (0x40086602, 0x40046602, 0x401C5820)
"""Requests of `ioctl` that set a file's flags, such as the one that makes it immutable (linux/fs.h)."""

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
READ = READ_FILE | READ_DIR
MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11
"""Rights to make devices, sockets and pipes."""
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
    """A classic BPF program over a system call's number, architecture and first two arguments."""
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
    steps += [(equal, 0, 1 + 2 * len(FLAG_REQUESTS), IOCTL[column]), (load, 0, 0, 24)]
    for request in FLAG_REQUESTS:
        steps += [(equal, 0, 1, request), (give, 0, 0, refuse)]
    steps += [
        (load, 0, 0, 0),
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
    allowed = [
        (writable, rights & ~(EXECUTE | MAKE_SPECIAL)),
        ("/dev/null", READ_FILE | WRITE_FILE),
    ]
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
