"""Settings are read from the environment; a wrong one is refused by the name of its variable."""

import pytest

from credit_sdk.errors import ConfigurationError
from reference_server.settings import Settings

URL = "postgresql://user@db.example/credits"
WRONG = [
    ("DATABASE_URL", "mysql://db"),
    ("DATABASE_URL", ""),
    ("CREDITS_PORT", "65536"),
    ("CREDITS_PORT", "eighty"),
    ("CREDITS_CORS_ORIGINS", "*"),
    ("CREDITS_CORS_ORIGINS", "null"),
    ("CREDITS_CORS_ORIGINS", "https://app.example/"),
    ("CREDITS_CORS_ORIGINS", "https://*.example"),
    ("CREDITS_CORS_ORIGINS", "https://good.example, app.example"),
    ("CREDITS_TRUSTED_PROXIES", "10.0.0.0/33"),
    ("CREDITS_UNSAFE_PER_MINUTE", "0"),
    ("CREDITS_SAFE_PER_MINUTE", "-1"),
    ("CREDITS_TOP_UP_URL", "javascript:alert(1)"),
    ("CREDITS_TOP_UP_URL", "https://shop.example/{user}"),
    ("CREDITS_BODY_SECONDS", "0"),
    ("CREDITS_SWEEP_SECONDS", "nan"),
    ("CREDITS_RATE_LIMIT_URL", "http://cache.example"),
    ("CREDITS_RATE_LIMIT_URL", "redis://"),
    ("CREDITS_RATE_LIMIT_URL", "redis://cache.example:0"),
    ("CREDITS_RATE_LIMIT_URL", "redis://cache.example:65536"),
    ("CREDITS_RATE_LIMIT_URL", "redis://cache.example/first"),
    ("CREDITS_RATE_LIMIT_URL", "redis://cache.example/0?socket_timeout=60"),
    ("CREDITS_DATABASE_ROLE", "postgres; drop table users"),
]


@pytest.mark.parametrize(("variable", "value"), WRONG)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}"):
        Settings.of({"DATABASE_URL": URL, variable: value})


def test_the_database_is_needed() -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: Field required"):
        Settings.of({})


@pytest.mark.parametrize(
    "wrong",
    [
        {"DATABASE_URL": "mysql://user:hunter2@db"},
        {"DATABASE_URL": URL, "CREDITS_RATE_LIMIT_URL": "http://:hunter2@cache"},
        {"DATABASE_URL": URL, "CREDITS_RATE_LIMIT_URL": "redis://user:hunter2"},
    ],
)
def test_a_password_is_not_repeated(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.of(wrong)
    assert "hunter2" not in str(raised.value)


def test_settings_that_are_shown_hide_passwords() -> None:
    settings = Settings(
        database_url="postgresql://user:hunter2@db",
        rate_limit_url="redis://user:hunter2@cache",
        oidc_client_secret="hunter2",
        secret_key="hunter2" * 5,
    )
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)


def test_arguments_go_before_the_environment() -> None:
    settings = Settings.of(
        {"DATABASE_URL": URL, "CREDITS_PORT": "1", "CREDITS_HOST": "::1"}, port=2, host=None
    )
    assert (settings.port, settings.host) == (2, "::1")


def test_settings_survive_the_way_to_another_process() -> None:
    settings = Settings.of(
        {
            "DATABASE_URL": URL,
            "CREDITS_CORS_ORIGINS": "https://a.example, http://localhost:3000",
            "CREDITS_TRUSTED_PROXIES": "10.0.0.0/8,::1",
            "CREDITS_TOP_UP_URL": "https://shop.example/?org={org_id}",
            "CREDITS_DATABASE_ROLE": "",
            "CREDITS_RATE_LIMIT_URL": "rediss://user:p%40ss@cache.example:6380/3",
            "CREDITS_KEY_CACHE_SECONDS": "0.5",
        }
    )
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert Settings.of(settings.environment()) == settings
