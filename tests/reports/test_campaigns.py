"""The campaigns that turn published rows into measured ones: they can be read, and each published table has its own."""

from __future__ import annotations

import pytest

from mellum_eval.campaign import read_campaign
from reports.baselines import campaign_path, load
from suites import registry

TABLES = load("mellum2-report").tables


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.id)
def test_a_published_table_can_be_measured(table: object) -> None:
    name = getattr(table, "campaign", None)
    path = campaign_path(name or "")
    assert path is not None
    members = read_campaign(path, {})
    # The report's own models and the open-weight ones beside it, each once.
    assert len({member.name for member in members}) == len(members) == len(getattr(table, "columns", ()))
    assert all(member.spec.model is not None and member.spec.model.startswith("vllm:") for member in members)
    for member in members:
        assert registry.expand(member.spec.suites)


@pytest.mark.parametrize("name", ["", "no_such", "../mellum2-report", "report_base.yaml"])
def test_no_other_file_is_a_campaign(name: str) -> None:
    assert campaign_path(name) is None
