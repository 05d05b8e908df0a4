"""The folders with which a core takes the native component without AWS: recipes/ and artifacts/.

Nucleus lite unpacks no zip in such a deployment, so the zip's files lie unpacked in the component's folder.
"""

from __future__ import annotations

import io
import shlex
import zipfile
from pathlib import Path

import yaml

from connector.component_settings import DEFAULT_PAYLOAD_BYTES
from deployment import recipe
from deployment.artifact import Artifact
from deployment.errors import UsageError
from deployment.settings import Settings, default_of

_JAVA_NEEDS_THING = (
    "The Java nucleus lets the component report only if it has interpolateComponentConfiguration true, or these "
    "folders are made with --thing and the name of the core's thing."
)


def write(
    built: Artifact,
    settings: Settings,
    name: str,
    folder: Path,
    max_payload_bytes: int | None = None,
    thing: str | None = None,
) -> list[str]:
    """Write them into a folder that does not exist yet, or is empty; return the commands that deploy them.

    thing: the core's; None for any core

    Raises UsageError where it can't be written.
    """
    # Each parameter, as nothing resets what an earlier recipe has set on the core.
    unset = {key: default_of(key) for key in recipe.NAMES - {"StateDirectory"}}
    payload = max_payload_bytes or DEFAULT_PAYLOAD_BYTES
    configuration = {**unset, **recipe.configuration(settings, name, payload, thing or recipe.THING)}
    document = recipe.recipe(built, name, built.version, None, configuration)
    recipes, artifacts = folder / "recipes", folder / "artifacts"
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"--output {folder}: is not empty; name a folder that does not exist yet")
        recipes.mkdir(parents=True)
        (recipes / f"{name}-{built.version}.yaml").write_text(
            yaml.safe_dump(document, sort_keys=False, width=1000), encoding="utf-8"
        )
        _unpack(built.data, artifacts / name / built.version)
        for path in [folder, *folder.rglob("*")]:  # whatever this process's umask: the component's user must read it
            path.chmod(0o755 if path.is_dir() else 0o644)
    except OSError as error:
        raise UsageError(f"--output {folder}: {error.strerror}") from error
    places = (recipes.resolve(), artifacts.resolve())
    chosen = f"{name}={built.version}"
    return [
        *(f"Note: {note}" for note in recipe.long_values(configuration)),
        f"Written: {recipes} and {artifacts}. On the core, with these folders:",
        "  nucleus lite:  "
        + shlex.join(
            ["ggl-cli", "deploy", *_flags(("--recipe-dir", "--artifacts-dir", "--add-component"), (*places, chosen))]
        ),
        "  Java nucleus:  "
        + shlex.join(
            [
                *("greengrass-cli", "deployment", "create"),
                *_flags(("--recipeDir", "--artifactDir", "--merge"), (*places, chosen)),
            ]
        ),
        *([] if thing else [_JAVA_NEEDS_THING]),
        f"With nucleus lite, its log: journalctl -u ggl.{name}",
        "To change settings there later, write other folders, and leave --artifacts-dir out: they take effect at once. "
        "With it the files of the version that runs are overwritten, which ends the process.",
    ]


def _flags(names: tuple[str, ...], values: tuple[Path | str, ...]) -> list[str]:
    return [str(word) for pair in zip(names, values, strict=True) for word in pair]


def _unpack(data: bytes, folder: Path) -> None:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)
