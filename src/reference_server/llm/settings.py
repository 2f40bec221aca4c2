"""Which upstreams the gateway calls, and with which secrets."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from reference_server.listed import listed

SEALING_KEY_BYTES = 32


def _upstream(entry: str) -> str:
    name, _, url = entry.partition("=")
    parts = urlsplit(url)
    if not name.isidentifier() or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must look like openai=https://api.openai.com/v1")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("the address of an upstream has no user, query or fragment")
    return entry


def _secret(entry: str) -> str:
    name, _, key = entry.partition("=")
    # The text of this error must not quote the secret.
    if not name.isidentifier() or not key.isascii() or not key.strip():
        raise ValueError("must look like openai=sk-...")
    return entry


def _sealing_key(text: str) -> str:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != SEALING_KEY_BYTES:
        raise ValueError(f"must be {SEALING_KEY_BYTES} random bytes in base64")
    return text


class GatewaySettings(BaseModel):
    """The part of the settings that the gateway needs."""

    llm_upstreams: Annotated[
        tuple[Annotated[str, AfterValidator(_upstream)], ...], BeforeValidator(listed)
    ] = ()
    """Base URLs of OpenAI-compatible services by the name of the provider: `openai=https://api.openai.com/v1`."""
    llm_keys: Annotated[
        tuple[Annotated[str, AfterValidator(_secret)], ...], BeforeValidator(listed), Field(repr=False)
    ] = ()
    """The platform's own keys: `openai=sk-...`."""
    llm_sealing_keys: Annotated[
        tuple[Annotated[str, AfterValidator(_sealing_key)], ...],
        BeforeValidator(listed),
        Field(repr=False),
    ] = ()
    """Under which organisations' keys are encrypted, in base64: by the first one; by any of them before."""
    llm_offline: bool = False
    """Whether the built-in upstream answers for providers that are not configured."""
    llm_seconds: Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)] = 120
    """How long an upstream may say nothing."""
    llm_catalogue_seconds: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = 5
    """How long the table of models and prices is believed without asking again."""

    def upstream_addresses(self) -> Mapping[str, str]:
        """Return base URLs by provider, without a slash at the end."""
        pairs = (entry.partition("=") for entry in self.llm_upstreams)
        return {name: url.rstrip("/") for name, _, url in pairs}

    def upstream_keys(self) -> Mapping[str, str]:
        """Return the platform's keys by provider."""
        return {name: key for name, _, key in (entry.partition("=") for entry in self.llm_keys)}

    def sealing_keys(self) -> tuple[bytes, ...]:
        """Return the keys that organisations' keys are encrypted under."""
        return tuple(base64.b64decode(key) for key in self.llm_sealing_keys)
