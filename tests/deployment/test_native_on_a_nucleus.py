"""The recipe and folders of `deploy.py v2 local`, with the built artifact, on the stand-in for a nucleus."""

from __future__ import annotations

import platform
import shlex
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
@pytest.mark.parametrize("nucleus", ["lite", "java"])
def test_component_reports_with_what_the_recipe_allows_and_says(artifact: Path, tmp_path: Path, nucleus: str) -> None:
    folder = tmp_path / "folders"
    flags = ["--ReportFormat", "cbor", "--MetricNames", "short"]
    assert deploy.main(["v2", "local", "--zip", str(artifact), "--output", str(folder), *flags]) == 0
    recipe: Any = yaml.safe_load((folder / "recipes" / f"{NAME}-1.0.0.yaml").read_text(encoding="utf-8"))
    run = recipe["Manifests"][0]["Lifecycle"]["run"]
    command = shlex.split(run["Script"])
    assert command[:2] == ["exec", f"python{RUNNING}"]
    with LocalNucleus(
        folder / "artifacts" / NAME / "1.0.0",
        nucleus=nucleus,
        component=NAME,
        arguments=command[2:],
        configuration=recipe["ComponentConfiguration"]["DefaultConfiguration"],
    ) as core:
        delivery = core.wait_for_delivery()
        assert delivery.verdict == Verdict(accepted=True)
        assert delivery.topic == "$aws/things/local-core/defender/metrics/cbor"
        assert core.stop() == 0
