from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_the_defaults_are_those_that_users_were_promised() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.backend) == ("127.0.0.1", 8000, "local")
    assert settings.max_body_bytes == 32 * 2**20
    assert settings.max_pixels == 50_000_000
    assert (settings.timeout_ms, settings.max_timeout_ms) == (10_000, 60_000)
    assert settings.drain_s == 30
    assert settings.codec_threads >= 1


def test_the_environment_sets_them_and_arguments_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGSERVE_MAX_PIXELS", "123")
    monkeypatch.setenv("SEGSERVE_MODEL_DIR", "weights")
    monkeypatch.setenv("SEGSERVE_PORT", "9000")
    settings = Settings(port=9001)
    assert (settings.max_pixels, settings.model_dir, settings.port) == (123, Path("weights"), 9001)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("backend", "cloud"),
        ("max_pixels", "0"),
        ("max_body_bytes", "many"),
        ("timeout_ms", "-1"),
        ("codec_threads", "0"),
        ("log_level", "loud"),
    ],
)
def test_a_value_out_of_range_is_refused_and_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SEGSERVE_{name.upper()}", value)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert [error["loc"] for error in refusal.value.errors()] == [(name,)]


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_pixel"):
        Settings(max_pixel=1)  # type: ignore[call-arg]


def test_each_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
