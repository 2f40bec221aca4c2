"""The models on offer, with their prices, as the database has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.model_prices import ModelPrice
from reference_server.identities import ask
from reference_server.llm.prices import Kind, Model, PowerLevel
from reference_server.llm.problems import ModelNotFoundError
from reference_server.remembering import Remembered

AUTOMATIC = "auto"
"""The name of whichever model a power level stands for."""
DEFAULT_LEVEL: PowerLevel = "balanced"
_ALL = b"all"
_PRICES = ("prompt", "cached", "completion", "image")
_ACTIVE = """
    SELECT coalesce(jsonb_agg(
        to_jsonb(m) || jsonb_build_object(
            'prompt_price', m.prompt_price::text,
            'cached_price', m.cached_price::text,
            'completion_price', m.completion_price::text,
            'image_price', m.image_price::text,
            'created', extract(epoch FROM m.created_at)::bigint
        )
        ORDER BY m.position, m.model COLLATE "C"
    ), '[]')
    FROM llm_models AS m
    WHERE m.is_active
"""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Finds models. One whose provider cannot be `served` is not on offer."""

    backend: AsyncSqlBackend
    seconds: float
    served: Callable[[str], bool]
    _remembered: Remembered[Mapping[str, Model]] = field(default_factory=Remembered)

    async def models(self) -> Mapping[str, Model]:
        """Return what is on offer by name, the models of each power level in the order of preference."""
        known = self._remembered.get(_ALL)
        if known is None:
            rows = await ask(self.backend, _ACTIVE)
            known = {row["model"]: _model(row) for row in rows if self.served(row["provider"])}
            self._remembered.keep(_ALL, known, self.seconds)
        return known

    async def find(self, name: str, kind: Kind, level: PowerLevel | None = None) -> Model:
        """Return a model by name, or for `auto` the level's; raise `ModelNotFoundError`."""
        models = await self.models()
        if name == AUTOMATIC:
            wanted = level or DEFAULT_LEVEL
            found = next(
                (each for each in models.values() if (each.kind, each.power_level) == (kind, wanted)), None
            )
        else:
            found = models.get(name)
        if found is None:
            raise ModelNotFoundError(f"There is no model {name[:100]!r} here.", param="model")
        if found.kind != kind:
            raise ModelNotFoundError(f"The model {found.name!r} is not for this address.", param="model")
        return found


def _model(row: dict[str, Any]) -> Model:
    return Model(
        name=row["model"],
        provider=row["provider"],
        upstream_model=row["upstream_model"] or row["model"],
        kind=row["kind"],
        power_level=row["power_level"],
        price=ModelPrice(**{name: row[f"{name}_price"] for name in _PRICES}),
        largest_output=row["largest_output"],
        created=row["created"],
    )
