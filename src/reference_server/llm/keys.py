"""Organisations' own keys of providers: encrypted here, so that the database never sees one.

AES-256-GCM, bound to the organisation and the provider: a row that is moved to another does not open.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from credit_sdk.backends.sql import Actor, AsyncSqlBackend
from reference_server.identities import ask
from reference_server.llm.problems import SealingUnavailableError

_NONCE_BYTES = 12
_NAME_BYTES = 8
_HINT_SIGNS = 4
_KEEP = "SELECT identity.keep_provider_key($1, $2, $3, $4, $5)"
_FIND = "SELECT identity.find_provider_key($1, $2)"
_LIST = "SELECT identity.list_provider_keys($1)"
_DROP = "SELECT identity.drop_provider_key($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class ProviderKeys:
    """Keeps organisations' keys. The first of `sealing_keys` seals, all of them open."""

    backend: AsyncSqlBackend
    sealing_keys: Sequence[bytes]

    async def keep(self, org_id: str, provider: str, key: str, actor: Actor) -> dict[str, Any]:
        """Keep a key in place of an earlier one; return what may be shown of it."""
        sealed = self._seal(key, org_id, provider)
        kept: dict[str, Any] = await ask(
            self.backend, _KEEP, org_id, provider, sealed, key[-_HINT_SIGNS:], _named(actor)
        )
        return kept

    async def find(self, org_id: str, provider: str) -> str | None:
        """Return a key; raise `SealingUnavailableError` for one that this server cannot open."""
        sealed = await ask(self.backend, _FIND, org_id, provider)
        return None if sealed is None else self._open(bytes(sealed), org_id, provider)

    async def all_of(self, org_id: str) -> list[dict[str, Any]]:
        """Return what may be shown of an organisation's keys."""
        kept: list[dict[str, Any]] = await ask(self.backend, _LIST, org_id)
        return kept

    async def drop(self, org_id: str, provider: str, actor: Actor) -> bool:
        """Forget a key; return whether there was one."""
        dropped: bool = await ask(self.backend, _DROP, org_id, provider, _named(actor))
        return dropped

    def _seal(self, key: str, org_id: str, provider: str) -> bytes:
        if not self.sealing_keys:
            raise SealingUnavailableError
        sealing_key = self.sealing_keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(sealing_key).encrypt(nonce, key.encode(), _bound_to(org_id, provider))
        return _name_of(sealing_key) + nonce + sealed

    def _open(self, sealed: bytes, org_id: str, provider: str) -> str:
        name, nonce = sealed[:_NAME_BYTES], sealed[_NAME_BYTES : _NAME_BYTES + _NONCE_BYTES]
        sealing_key = next((key for key in self.sealing_keys if _name_of(key) == name), None)
        if sealing_key is None:
            raise SealingUnavailableError("The organisation's key was sealed under a key that is not here.")
        text = sealed[_NAME_BYTES + _NONCE_BYTES :]
        try:
            return AESGCM(sealing_key).decrypt(nonce, text, _bound_to(org_id, provider)).decode()
        except InvalidTag:
            raise SealingUnavailableError("The organisation's key was changed in the database.") from None


def _bound_to(org_id: str, provider: str) -> bytes:
    return json.dumps([org_id, provider]).encode()


def _name_of(sealing_key: bytes) -> bytes:
    return sha256(b"name of a sealing key" + sealing_key).digest()[:_NAME_BYTES]


def _named(actor: Actor) -> str:
    return json.dumps({"actor": actor.id, "actor_kind": actor.kind, "request_id": actor.request_id})
