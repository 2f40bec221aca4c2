"""Where managers set, see and drop their organisation's own keys of providers."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from credit_sdk.errors import NotFoundError
from credit_sdk.operations import ListSubscriptions, parse
from reference_server.access import manages_organization
from reference_server.api import Api
from reference_server.bodies import read_body, require_json
from reference_server.callers import Caller
from reference_server.llm.keys import ProviderKeys
from reference_server.llm.problems import InvalidRequestError
from reference_server.llm.upstreams import Upstreams
from reference_server.strict_json import parse_object

LARGEST_KEY_BODY = 4 * 1024
_ALL = re.compile(r"/organizations/([^/]+)/keys")
_ONE = re.compile(r"/organizations/([^/]+)/keys/([a-z][a-z0-9_-]{0,99})")
_PRINTABLE = re.compile(r"[\x21-\x7e]{16,512}", re.ASCII)

Handler = Callable[[Request, Caller], Awaitable[ASGIApp]]


@dataclass(frozen=True, slots=True)
class KeyRoutes:
    """The handlers of `/organizations/{org_id}/keys` and of `/organizations/{org_id}/keys/{provider}`."""

    api: Api
    keys: ProviderKeys
    upstreams: Upstreams

    def handlers(self, path: str, headers: dict[str, str]) -> dict[str, Handler]:
        """Return what answers at a path, by method."""
        if found := _ALL.fullmatch(path):
            every = unquote(found[1])
            return {"GET": lambda _, caller: self._list(caller, every, headers)}
        if found := _ONE.fullmatch(path):
            org_id, provider = unquote(found[1]), found[2]
            return {
                "PUT": lambda request, caller: self._keep(request, caller, org_id, provider, headers),
                "DELETE": lambda request, caller: self._drop(request, caller, org_id, provider, headers),
            }
        return {}

    async def _list(self, caller: Caller, org_id: str, headers: dict[str, str]) -> Response:
        await self._require_manager(caller, org_id)
        return JSONResponse({"items": await self.keys.all_of(org_id)}, headers=headers)

    async def _keep(
        self, request: Request, caller: Caller, org_id: str, provider: str, headers: dict[str, str]
    ) -> Response:
        await self._require_manager(caller, org_id)
        if not self.upstreams.serves(provider):
            raise NotFoundError(f"There is no provider {provider} here.")
        require_json(request)
        body = await read_body(request, largest=LARGEST_KEY_BODY, seconds=self.api.settings.body_seconds)
        key = _key_in(parse_object(body))
        actor = caller.actor(request.state.request_id)
        return JSONResponse(await self.keys.keep(org_id, provider, key, actor), headers=headers)

    async def _drop(
        self, request: Request, caller: Caller, org_id: str, provider: str, headers: dict[str, str]
    ) -> Response:
        await self._require_manager(caller, org_id)
        if not await self.keys.drop(org_id, provider, caller.actor(request.state.request_id)):
            raise NotFoundError(f"The organisation has no key for {provider}.")
        return JSONResponse({"success": True}, headers=headers)

    async def _require_manager(self, caller: Caller, org_id: str) -> None:
        """Refuse who does not manage the organisation, and an organisation that there is not."""
        question = parse(ListSubscriptions, {"org_id": org_id})
        await manages_organization(caller, question, self.api.ledger)
        await self.api.ledger.execute(question)


def _key_in(body: dict[str, Any]) -> str:
    key = body.get("api_key")
    if not isinstance(key, str) or not _PRINTABLE.fullmatch(key) or len(body) != 1:
        raise InvalidRequestError(
            'The body must be {"api_key": ...}: 16 to 512 printable signs.', param="api_key"
        )
    return key
