"""Tell the service manager: READY, WATCHDOG, STATUS, STOPPING (the sd_notify(3) datagram protocol)."""

from __future__ import annotations

import os
import socket


def notify(*states: str) -> bool:
    """Send assignments such as `READY=1` to the manager; return False when no manager listens.

    The socket's name comes from NOTIFY_SOCKET; a leading @ means the abstract name space. Raises nothing for a missing
    or full socket: the manager's watchdog is what notices a silent service.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)) as channel:
        channel.settimeout(1.0)
        try:
            channel.sendto("\n".join(states).encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return False
    return True


def watchdog_seconds() -> float | None:
    """Return the manager's watchdog limit in seconds, None when it watches nobody or another process."""
    limit, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(limit) / 1e6
