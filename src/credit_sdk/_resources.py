"""Connections belong to the process, and to the event loop, that made them."""

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

ResourceT = TypeVar("ResourceT")


class PerProcess(Generic[ResourceT]):
    """One resource for each process: a forked child makes its own and leaves its parent's alone."""

    def __init__(self, make: Callable[[], ResourceT], close: Callable[[ResourceT], None]) -> None:
        self._make = make
        self._close = close
        self._resource: ResourceT | None = None
        self._lock = threading.Lock()
        _forget_in_child(self)

    def get(self) -> ResourceT:
        """Return this process's resource, made at the first call."""
        if self._resource is None:
            with self._lock:
                if self._resource is None:
                    self._resource = self._make()
        return self._resource

    def close(self) -> None:
        """Close this process's resource; the next call of `get` makes a new one."""
        with self._lock:
            resource, self._resource = self._resource, None
        if resource is not None:
            self._close(resource)

    def _forget(self) -> None:
        # Another thread may have held the lock at the moment of the fork, so the child gets a new one.
        self._lock = threading.Lock()
        self._resource = None


class PerLoop(Generic[ResourceT]):
    """One resource for each running event loop.

    `abandon` lets go of the resource of a loop that has ended: nothing can be awaited on it any more.
    """

    def __init__(
        self,
        make: Callable[[], ResourceT],
        close: Callable[[ResourceT], Awaitable[None]],
        *,
        abandon: Callable[[ResourceT], None] = lambda _: None,
    ) -> None:
        self._make = make
        self._close = close
        self._abandon = abandon
        self._resources: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, ResourceT]
        self._resources = weakref.WeakKeyDictionary()
        _forget_in_child(self)

    def get(self) -> ResourceT:
        """Return the running loop's resource, made at the first call."""
        loop = asyncio.get_running_loop()
        resource = self._resources.get(loop)
        if resource is None:
            self._abandon_ended_loops()
            resource = self._resources[loop] = self._make()
        return resource

    def _abandon_ended_loops(self) -> None:
        for loop in [each for each in self._resources if each.is_closed()]:
            self._abandon(self._resources.pop(loop))

    async def close(self) -> None:
        """Close the running loop's resource; those of other loops can only be closed from there."""
        resource = self._resources.pop(asyncio.get_running_loop(), None)
        if resource is not None:
            await self._close(resource)

    def _forget(self) -> None:
        self._resources = weakref.WeakKeyDictionary()


_inherited: weakref.WeakSet[PerProcess[object] | PerLoop[object]] = weakref.WeakSet()
# Closing an inherited connection would tell the server to end the parent's session, so what the
# child forgets must also never be finalised there.
_abandoned: list[object] = []


def _forget_in_child(holder: "PerProcess[ResourceT] | PerLoop[ResourceT]") -> None:
    _inherited.add(holder)  # type: ignore[arg-type]  # only forgetting is ever done through the set


def _after_fork() -> None:
    for holder in list(_inherited):
        _abandoned.append(holder.__dict__.copy())
        holder._forget()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
