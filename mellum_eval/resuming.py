"""Whether a run can go on: what it was begun with must be what is there now, or its scores would be of two things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from mellum_eval.errors import UserError
from mellum_eval.manifest import redacted
from mellum_eval.plan import PlannedSuite, offers_tools
from mellum_eval.records import Manifest, SuiteRecord
from mellum_eval.spec import BackendOptions, RunSpec

_MAY_CHANGE = ("workers", "sandbox", "runtime", "ray", "max_infra_rate", "judge_api_key_env", "price_in", "price_out")
"""What changes how fast or where a run goes, not what it measures; of the backend's settings these:"""
_BACKEND_MAY_CHANGE = (
    *("concurrency", "batch_size", "device", "timeout_s", "retries", "api_key_env", "trust_remote_code", "stream"),
    *("vllm_python", "vllm_args", "start_timeout_s", "cache"),
)
_WHO = ("scheme", "name", "sha256", "revision", "chat_template_sha256", "chat", "dtype")


def merged_spec(manifest: Manifest, given: RunSpec) -> RunSpec:
    """The spec of a run that goes on: as it was begun, with what may change taken from the command line.

    Raises:
        UserError: A flag asks for something else than the run was begun with.
    """
    try:
        begun = RunSpec.model_validate(manifest.spec)
    except ValidationError as error:
        raise UserError(f"run.json: spec.{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
    changes: dict[str, Any] = {}
    for name in given.model_fields_set:
        value = getattr(given, name)
        if name == "backend":
            changes[name] = _merged_backend(begun.backend, value)
        elif name in _MAY_CHANGE:
            changes[name] = value
        elif redacted(given.model_dump(mode="json")[name]) != manifest.spec.get(name):
            raise _differs("MODEL" if name == "model" else name)
        elif name == "model":
            changes[name] = value  # it may carry a password that the manifest does not
    return begun.model_copy(update=changes)


def _merged_backend(begun: BackendOptions, given: BackendOptions) -> BackendOptions:
    new = {field: getattr(given, field) for field in given.model_fields_set}
    for field, value in new.items():
        if field not in _BACKEND_MAY_CHANGE and redacted(value) != redacted(getattr(begun, field)):
            raise _differs(f"backend.{field}")
    return begun.model_copy(update=new)


def _differs(name: str) -> UserError:
    return UserError(f"{name} is not what the run was begun with; leave it out, or begin another run")


def check_same(manifest: Manifest, planned: Sequence[PlannedSuite], model: Mapping[str, Any]) -> None:
    """Hold suites and model to the manifest.

    Raises:
        UserError: Names what differs.
    """
    begun = {record.name: record for record in manifest.suites}
    for suite in planned:
        record = begun.get(suite.name)
        if record is None:
            raise UserError(f"run.json has no suite {suite.name}; begin another run")
        difference = _difference(record, suite.record())
        if difference is not None:
            raise UserError(f"suite {suite.name}: {difference} since the run was begun; begin another run")
    for field in (*_WHO, "tool_calls") if offers_tools(planned) else _WHO:
        if field in manifest.model and redacted(model.get(field)) != manifest.model[field]:
            raise UserError(
                f"the model's {field} is {model.get(field)} now and was {manifest.model[field]} "
                "when the run was begun; begin another run"
            )


def _difference(begun: SuiteRecord, now: SuiteRecord) -> str | None:
    if begun.version != now.version:
        return f"version {begun.version} became {now.version}"
    for file in begun.data.keys() | now.data.keys():
        if begun.data.get(file) != now.data.get(file):
            return f"its data {file} changed"
    if begun.sampling != now.sampling or begun.problems != now.problems:
        return "its sampling or number of problems changed"
    if begun.prompts_sha256 and begun.prompts_sha256 != now.prompts_sha256:
        return "its prompts changed"
    return None
