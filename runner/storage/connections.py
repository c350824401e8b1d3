"""The connections of a client of blob storage, which can be cut: a request that nobody answers would wait for its time to be over."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Iterable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

GRACE = 0.5  # seconds that a request still has for its answer when nobody wants to wait any longer


class Connections:
    """All that one client makes; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._stopped = False
        self._pools = {"http": _watched(HTTPConnectionPool, self), "https": _watched(HTTPSConnectionPool, self)}

    def watch(self, session: Any, size: int) -> None:
        """All that this session (of requests) makes from now on; `size` of them are kept for the next request."""
        for prefix, adapter in list(session.adapters.items()):
            session.mount(prefix, _Adapter(self._pools, max_retries=adapter.max_retries, pool_connections=size, pool_maxsize=size))

    def stop(self) -> None:
        """What has no answer in a moment gets none: it fails. The same is so for what is asked later."""
        with self._lock:
            self._stopped = True
            sockets = list(self._open)
        _cut_soon(sockets)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
            stopped = self._stopped
        if stopped:
            _cut_soon([connection])


class _Adapter(HTTPAdapter):
    """Makes its connections, to proxies as well, by pools of ours."""

    def __init__(self, pools: dict[str, Any], **settings: Any) -> None:
        self._pools = pools
        super().__init__(**settings)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **settings)
        if not proxy.lower().startswith("socks"):  # which has connections of its own kind
            manager.pool_classes_by_scheme = self._pools
        return manager


def _watched(pool: Any, connections: Connections) -> Any:
    """A pool of the same kind, of whose connections we are told."""

    class Watched(pool.ConnectionCls):  # type: ignore[misc]
        _early: socket.socket | None = None

        def _new_conn(self) -> Any:
            """A second handle is ours until the connection is ready: TLS takes the first one away while it greets the server."""
            made = super()._new_conn()
            self._early = made.dup()
            connections.opened(self._early)
            return made

        def connect(self) -> None:
            try:
                super().connect()
            finally:
                early, self._early = self._early, None
                if early is not None:
                    early.close()
            connections.opened(_socket_of(self.sock))

    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": Watched})


def _socket_of(connection: Any) -> socket.socket:
    """That below TLS within TLS, which goes through a proxy."""
    while not isinstance(connection, socket.socket):
        connection = connection.socket
    return connection


def _cut_soon(sockets: Iterable[socket.socket]) -> None:
    timer = threading.Timer(GRACE, _cut, [sockets])
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:  # the interpreter ends: no thread can be started
        _cut(sockets)


def _cut(sockets: Iterable[socket.socket]) -> None:
    """Whoever reads or writes there notices; the handles are closed by their owners. TLS does not say goodbye, which could wait, too."""
    for each in sockets:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(each, socket.SHUT_RDWR)
