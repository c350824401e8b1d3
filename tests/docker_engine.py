"""Whether a Docker engine answers, to this process and to an ordinary user; found out without importing `docker`.

python tests/docker_engine.py [SECONDS]     exit status 0 as soon as it answers, 1 when it has not after that time
"""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

DEFAULT = "unix:///var/run/docker.sock"
# An ordinary user in the group docker, with whom root runs tests; .ci/run makes it.
TESTER = "runner-tester"


def answers(address: str) -> bool:
    """Whether an engine says OK to a ping; one behind TLS counts when it accepts the connection."""
    url = urlsplit(address)
    try:
        with connection(url.scheme, url.path, url.hostname or "localhost", url.port or 2375) as engine:
            if os.environ.get("DOCKER_TLS_VERIFY"):
                return True
            engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in engine.recv(1024).partition(b"\r\n")[0]
    except OSError:
        return False


def connection(scheme: str, path: str, host: str, port: int) -> socket.socket:
    if scheme != "unix":
        return socket.create_connection((host, port), timeout=5)
    engine = socket.socket(socket.AF_UNIX)
    engine.settimeout(5)
    try:
        engine.connect(path)
    except OSError:
        engine.close()
        raise
    return engine


def find_engine() -> str | None:
    """The address of an engine that answers this process."""
    address = os.environ.get("DOCKER_HOST") or DEFAULT
    return address if answers(address) else None


def find_tester() -> str | None:
    """The ordinary user's name, when this process may become that user, who can run this Python and reach the engine."""
    try:
        pwd.getpwnam(TESTER)
    except KeyError:
        return None
    if os.geteuid():
        return None
    try:
        done = subprocess.run([*as_tester(), sys.executable, __file__], cwd="/", capture_output=True, timeout=60, check=False)
    except OSError:
        return None
    return None if done.returncode else TESTER


def as_tester() -> list[str]:
    """The words before a command that root runs as the ordinary user; the home folder is that user's, too."""
    user = pwd.getpwnam(TESTER)
    switch = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--"]
    return [*switch, "env", f"HOME={user.pw_dir}", f"USER={TESTER}", f"LOGNAME={TESTER}"]


def main(seconds: float) -> int:
    end = time.monotonic() + seconds
    while not find_engine():
        if time.monotonic() >= end:
            return 1
        time.sleep(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 0))
