"""The system calls that no program needs to compute, as a filter for the kernel.

Many of them are refused anyway to a process without privileges; here they are out of reach of what
the kernel may yet have wrong in them. An allow list would break good programs instead, with every
new version of a library.
"""

import ctypes.util
import errno
import functools
import tempfile

from ocijax.sandbox.errors import SandboxError

_DENIED = {
    "keys, that namespaces do not part": ("add_key", "keyctl", "request_key"),
    "other processes": (
        *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
        *("pidfd_getfd", "perf_event_open", "move_pages", "migrate_pages"),
    ),
    "the kernel's inner machines": (
        *("bpf", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"),
        *("fanotify_init", "vmsplice", "lookup_dcookie", "memfd_secret"),
    ),
    "namespaces and mounts": (
        *("unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "fsopen"),
        *("fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
        *("statmount", "listmount", "open_by_handle_at", "name_to_handle_at", "quotactl"),
        *("quotactl_fd", "swapon", "swapoff"),
    ),
    "the machine": (
        *("reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module"),
        *("delete_module", "create_module", "get_kernel_syms", "query_module", "acct", "syslog"),
        *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime"),
        *("sethostname", "setdomainname", "vhangup", "nfsservctl", "uselib", "ustat", "sysfs"),
        *("_sysctl", "iopl", "ioperm", "modify_ldt", "vm86", "vm86old", "pciconfig_read"),
        *("pciconfig_write", "pciconfig_iobase"),
    ),
}
_FAMILIES = (1, 2, 10)  # of sockets: Unix, IPv4, IPv6
_LAST_FAMILY = 64
_NEW_NAMESPACES = tuple(1 << bit for bit in (17, 25, 26, 27, 28, 29, 30))  # flags of clone
_INJECTING = (0x5412, 0x541C)  # requests to a terminal: TIOCSTI, TIOCLINUX
_WORD = 0xFFFFFFFF  # that the kernel reads of such an argument
_BINARY_TREE = 2


@functools.cache
def deny_list() -> bytes:
    """Returns the filter, as the kernel loads it: made once, by libseccomp.

    What it denies fails as if it were not permitted (EPERM); `clone3`, whose flags a filter cannot
    see, as if the kernel did not have it, so that libraries use `clone`.

    Raises:
      SandboxError: this host has no libseccomp.
    """
    if ctypes.util.find_library("seccomp") is None:
        raise SandboxError(
            "the sandbox finds no libseccomp on this host: install it (Debian, Ubuntu: libseccomp2;"
            ' Fedora: libseccomp), or choose isolation="limits", which is weaker'
        )
    import pyseccomp  # only here, as it fails where there is no libseccomp

    denied = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    denied.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, _BINARY_TREE)
    refusal = pyseccomp.ERRNO(errno.EPERM)
    for names in _DENIED.values():
        for name in names:
            if pyseccomp.resolve_syscall(pyseccomp.system_arch(), name) != -1:
                denied.add_rule(refusal, name)
    denied.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    for flag in _NEW_NAMESPACES:
        denied.add_rule(refusal, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, flag, flag))
    for request in _INJECTING:
        denied.add_rule(refusal, "ioctl", pyseccomp.Arg(1, pyseccomp.MASKED_EQ, _WORD, request))
    unsupported = pyseccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in set(range(_LAST_FAMILY)) - set(_FAMILIES):
        denied.add_rule(unsupported, "socket", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _WORD, family))
    with tempfile.TemporaryFile() as file:
        denied.export_bpf(file)
        file.seek(0)
        return file.read()
