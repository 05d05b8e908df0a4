"""Reads CloudFormation templates as the AWS CLI does; cfn-lint takes seconds to import, in each process of pytest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from awscli.customizations.cloudformation.yamlhelper import yaml_parse


def load(path: Path) -> Any:
    """Return a template with the long forms of functions: {"Ref": ...}, {"Fn::Sub": ...}."""
    return yaml_parse(path.read_text(encoding="utf-8"))
