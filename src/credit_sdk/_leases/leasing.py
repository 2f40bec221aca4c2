"""Which charges of a service are leased, and where its leases are."""

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

from credit_sdk._courier import Courier
from credit_sdk._flows import Retries
from credit_sdk._leases.leases import Leases, Place, anything_left
from credit_sdk._leases.lessee import Lessee
from credit_sdk._resources import PerProcess
from credit_sdk._runners import Backend
from credit_sdk.errors import ConfigurationError, OutboxError
from credit_sdk.outbox import Outbox
from credit_sdk.policy import ChargePolicy, LeasePolicy

logger = logging.getLogger("credit_sdk")

LeaseChoice: TypeAlias = "LeasePolicy | Literal[False] | None"
"""How a charge is leased: None as the service says, False not at all."""


class Leasing:
    """The leases of a service, made when the first charge is leased."""

    def __init__(
        self,
        policy: LeasePolicy | None,
        backend: Callable[[], Backend],
        courier: Courier | None,
        retries: Retries,
        *,
        needs_journal: bool = True,
    ) -> None:
        """`needs_journal` says that the books outlive the process; then there has to be an outbox."""
        self._policy = policy
        self._backend = backend
        self._courier = courier
        self._retries = retries
        self._needs_journal = needs_journal
        self._has_warned = False
        self._leases = PerProcess(self._make, Leases.close)
        self.check(policy)

    def check(self, choice: LeaseChoice) -> None:
        """Raise `ConfigurationError` for a choice that cannot work."""
        if choice is None or choice is False:
            return
        if not isinstance(choice, LeasePolicy):
            raise ConfigurationError(f"lease must be LeasePolicy(...), not {type(choice).__name__}.")
        if self._needs_journal and self._courier is None:
            raise ConfigurationError(
                "A lease needs the outbox: its journal is kept beside it. Name a file with outbox=."
            )

    def policy_for(self, charging: ChargePolicy, choice: LeaseChoice) -> LeasePolicy | None:
        """Return how a charge is leased; None for one that is charged by itself.

        What becomes of work whose process dies, or whose outcome is unknown, is found out with the charge's
        own hold.
        """
        policy = self._policy if choice is None else choice
        return policy if isinstance(policy, LeasePolicy) and _is_plain(charging) else None

    def lessee(self, org_id: str, user_id: str, policy: LeasePolicy) -> Lessee | None:
        """Return who leases for an account; None where there is no place for a journal."""
        try:
            return self._leases.get().lessee(org_id, user_id, policy)
        except OutboxError as error:
            if not self._has_warned:
                logger.warning("%s Nothing is leased.", error)
                self._has_warned = True
            return None

    def wake_if_left(self) -> None:
        """Settle in the background what processes that have ended have spent, and give back the rest."""
        courier = self._courier
        try:
            if courier is not None and self.is_in_use() and anything_left(_place(courier)):
                self._leases.get().wake()
        except OutboxError as error:
            logger.warning("%s", error)

    def is_in_use(self) -> bool:
        """Whether any process has ever leased from these books with this outbox."""
        return self._courier is not None and _folder(self._courier).is_dir()

    def settle(self) -> None:
        """Settle now what was spent, here and by processes that have ended."""
        self._leases.get().settle()

    def close(self) -> None:
        """Settle and give back everything; what cannot be is left to the next start."""
        self._leases.close()

    def _make(self) -> Leases:
        courier = self._courier
        place = None if courier is None else _place(courier)
        keeper = None if courier is None else courier.keeps(None)
        return Leases(place, self._backend, keeper, self._retries)


def _is_plain(policy: ChargePolicy) -> bool:
    return policy.on_crash == "release" and not policy.uncertain


def _folder(courier: Courier) -> Path:
    path = courier.outbox.path
    destination = sha256(courier.destination.encode()).hexdigest()[:16]
    return path.with_name(f"{path.name}.leases") / destination


def _place(courier: Courier) -> Place:
    outbox: Outbox = courier.outbox
    presence = outbox.presence()
    return Place(_folder(courier), presence.slot, presence.is_alive)
