"""The recipe and folders of `deploy.py v2 local`, with the built artifact, on the stand-in for a nucleus."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import deploy
import pytest
import yaml
from local_core import LocalNucleus, Verdict
from support.builder import RUNNING, built, copy_repository

NAME = "device-defender-connector-native"
TARGET = (RUNNING, platform.machine())


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(copy_repository(tmp_path_factory.mktemp("repository")), TARGET, native=True)


@pytest.mark.skipif(TARGET[1] not in ("x86_64", "aarch64"), reason=f"there is no native zip for {TARGET[1]}")
@pytest.mark.parametrize(
    ("nucleus", "target"), [("lite", []), ("lite", ["--thing", "gw-1"]), ("java", ["--thing", "gw-1"])]
)
def test_component_reports_with_what_the_recipe_allows_and_says(
    artifact: Path, tmp_path: Path, nucleus: str, target: list[str]
) -> None:
    folder = tmp_path / "two words"
    flags = ["--ReportFormat", "cbor", "--MetricNames", "short", *target]
    assert deploy.main(["v2", "local", "--zip", str(artifact), "--output", str(folder), *flags]) == 0
    recipe: Any = yaml.safe_load((folder / "recipes" / f"{NAME}-1.0.0.yaml").read_text(encoding="utf-8"))
    run = recipe["Manifests"][0]["Lifecycle"]["run"]
    unpacked = folder / "artifacts" / NAME / "1.0.0"
    with LocalNucleus(
        unpacked,
        nucleus=nucleus,
        thing="gw-1",
        component=NAME,
        script=run["Script"].replace("{artifacts:path}", str(unpacked)),
        environment={**run.get("Setenv", {}), "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin"},
        configuration=recipe["ComponentConfiguration"]["DefaultConfiguration"],
    ) as core:
        delivery = core.wait_for_delivery()
        assert delivery.verdict == Verdict(accepted=True)
        assert delivery.topic == "$aws/things/gw-1/defender/metrics/cbor"
        assert core.stop() == 0
