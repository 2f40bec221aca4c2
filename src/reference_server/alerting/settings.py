"""How often alerts are looked for, and where webhooks may go."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from reference_server.listed import listed


def _network(value: object) -> object:
    return ip_network(value) if isinstance(value, str) else value


Network = IPv4Network | IPv6Network
Networks = Annotated[tuple[Annotated[Network, BeforeValidator(_network)], ...], BeforeValidator(listed)]


class AlertSettings(BaseModel):
    """The part of the settings that alerts need."""

    alert_seconds: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = 30
    """How often balances are looked at, and how often webhooks are sent."""
    alert_usage_seconds: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = 300
    """How often figures over many charges are looked at: spikes and forecasts."""
    webhook_networks: Networks = ()
    """The networks that are not public and that webhooks may go to all the same."""
    webhook_seconds: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 15
    """How long an endpoint may take to answer."""
