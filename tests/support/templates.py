"""Reads CloudFormation templates. Without cfn-lint, which takes a second to import, in each of pytest's processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Knows CloudFormation's short forms, such as !Ref and !GetAtt."""


def _function(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    """Return the long form: {"Ref": ...} or {"Fn::Sub": ...}."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _function)


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)
