"""Every API call of a session, recorded and answered without leaving the machine."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from botocore.validate import ParamValidator

ACCOUNT, REGION = "123456789012", "eu-west-1"
NOW = datetime(2025, 1, 1, tzinfo=timezone.utc)
READING = ("Get", "List", "Describe", "Head")


def answer(model: Any, parsed: dict[str, Any], status: int = 200) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Return what botocore takes for a service's answer; a good one must fit the model."""
    if status < 300:
        report = ParamValidator().validate(parsed, model.output_shape)
        assert not report.has_errors(), f"{model.name}: {report.generate_report()}"
    return SimpleNamespace(status_code=status), {**parsed, "ResponseMetadata": {"HTTPStatusCode": status}}


def refusal(model: Any, code: str, message: str, status: int = 400) -> tuple[SimpleNamespace, dict[str, Any]]:
    """Return an error as the service would."""
    return answer(model, {"Error": {"Code": code, "Message": message}}, status)


def page(model: Any, key: str, found: list[Any], token: str | None, size: int) -> Any:
    """Return one page of a listing; the token is the number of the first item."""
    start = int(token or 0)
    more = {"nextToken": str(start + size)} if start + size < len(found) else {}
    return answer(model, {key: found[start : start + size], **more})


class Calls:
    """Every API call of an account, in order.

    all: names and parameters; `writes` are those that change something
    stubs: by name, what answers instead
    """

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self.stubs: dict[str, Any] = {}

    @property
    def writes(self) -> list[str]:
        return [name for name, _ in self.all if not name.split(":")[1].startswith(READING)]

    def params(self, name: str) -> dict[str, Any]:
        """Return the parameters of the last call of that name."""
        return next(params for called, params in reversed(self.all) if called == name)

    def record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.all.append((f"{model.service_model.service_name}:{model.name}", params))

    def stub(self, model: Any, **_: Any) -> Any:
        stub = self.stubs.get(f"{model.service_model.service_name}:{model.name}")
        return stub(model, self.all[-1][1]) if stub else None
