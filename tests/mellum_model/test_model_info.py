"""Sizes by part, against the published figures and against built models."""

from __future__ import annotations

import pytest
from small_models import CONFIGS, build

from mellum_model import MellumConfig
from mellum_model.info import model_info


def test_the_published_model() -> None:
    info = model_info(MellumConfig.mellum2_12b())
    assert info.total == 12_149_923_072
    assert info.active == 2_439_060_736
    assert info.kv_bytes == 1_923_088_384 and info.context == 131_072


@pytest.mark.parametrize("name", CONFIGS)
def test_counted_is_built(name: str) -> None:
    info = model_info(CONFIGS[name])
    built = sum(parameter.numel() for parameter in build(CONFIGS[name]).parameters())
    assert sum(part.total for part in info.parts) == built
