"""A tiny launcher, run by path: ``as_user.py UID GID PROGRAM ARGUMENT...`` as root. It becomes that program.

PostgreSQL refuses to run as root, and the folders above its binaries and its data (``/root``, say) may be closed to
everybody else and must keep their modes. So the program runs under an unprivileged user id that keeps one capability,
CAP_DAC_OVERRIDE (to pass closed folders), as an ambient one, which survives ``exec`` and is inherited. It cannot gain
anything more: the user id is not root's, and set-uid programs are without effect (no_new_privs).

PostgreSQL also asks ``access(2)``, for which the kernel ignores the capabilities of every user but root; the secure bit
NO_SETUID_FIXUP, inherited too, makes it count them (capabilities(7); fs/open.c, access_override_creds).

Where the kernel or the container refuses the capability, the program is started without it, and works if the folders
are open to the user id.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2


def main(arguments: list[str]) -> None:
    """Switches the user and becomes the program. Raises ``OSError`` when the user id cannot be had."""
    uid, gid, *command = arguments
    keeps = _keep_capabilities_over_the_switch()
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    if keeps:
        _hold_only(_CAP_DAC_OVERRIDE)
    os.execv(command[0], command)  # noqa: S606  # that is what a launcher is for


def _keep_capabilities_over_the_switch() -> bool:
    if sys.platform != "linux":
        return False
    return _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP) == 0


def _hold_only(capability: int) -> None:
    """Drops every capability but this one, if we have it at all. Dropping must not fail; raising may."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0-31, then of 32-63
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    has = sets[1] & (1 << capability)
    if libc.capset(header, (ctypes.c_uint32 * 6)(has, has, has, 0, 0, 0)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> int:
    words = [ctypes.c_ulong(word) for word in (*arguments, 0, 0, 0, 0)[:4]]
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, *words))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[3]} as user id {sys.argv[1]}: {error}")
