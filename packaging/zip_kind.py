"""The two zips that build_zip.py makes: the Lambda function, and the native Greengrass component."""

from __future__ import annotations

from typing import NamedTuple, Tuple

NAME = "device-defender-connector"

# Parts of the connector and of psutil that neither needs.
_NEEDED_BY_NONE = (
    # `python -m connector run`, which a core has no use for.
    "connector/direct*.py",
    "connector/notify.py",
    "connector/transports/mqtt*.py",
    "connector/transports/tls.py",
    "*.pyi",
    "*/py.typed",
    "cbor2/tool.py",
    # psutil for other systems than Linux
    "psutil/_psaix.py",
    "psutil/_psbsd.py",
    "psutil/_psosx.py",
    "psutil/_pssunos.py",
    "psutil/_pswindows.py",
)


class Kind(NamedTuple):
    """What goes into a zip, and for which machines there is one.

    prefix: of its name
    requirements: files that pin the wheels in it
    left_out: patterns of the paths of files that are not put into it
    without: packages in `requirements` that are not put into it
    arches: machines that it is built for; "any" has no compiled modules
    on_path: whether Python may import it from the zip itself, which takes bytecode beside the sources
    """

    prefix: str
    requirements: Tuple[str, ...]
    left_out: Tuple[str, ...]
    without: Tuple[str, ...]
    arches: Tuple[str, ...]
    on_path: bool

    def refusal(self, arch: str) -> str:
        """Return why there is no zip for a machine; "" if there is one."""
        if arch in self.arches:
            return ""
        if self.on_path:
            return f"invalid choice: {arch!r} (choose from {', '.join(map(repr, self.arches))})"
        return (
            f"there is no native component for {arch}, only for {' and '.join(self.arches)}: AWS publishes no "
            "awsiotsdk for it. On such a device the connector runs without Greengrass, with `python -m connector run`"
        )


FUNCTION = Kind(
    prefix=NAME,
    requirements=("requirements.txt",),
    left_out=(
        *_NEEDED_BY_NONE,
        "connector/component*.py",
        "connector/deliveries.py",
        "connector/shorten.py",
        "connector/transports/greengrass_ipc*.py",
        "greengrasssdk/stream_manager/*",
    ),
    without=(),
    arches=("x86_64", "aarch64", "any"),
    on_path=True,
)

COMPONENT = Kind(
    prefix=f"{NAME}-native",
    requirements=("requirements.txt", "packaging/requirements-native.txt"),
    left_out=(
        *_NEEDED_BY_NONE,
        "connector/handler.py",
        "connector/transports/greengrass_lambda.py",
        "connector/transports/ipc_guard.py",
        # Of the SDK only Greengrass IPC is used.
        "awscrt/_test.py",
        "awscrt/aio/*",
        "awscrt/s3.py",
        "awsiot/greengrass_discovery.py",
        "awsiot/iotidentity.py",
        "awsiot/iotjobs.py",
        "awsiot/iotshadow.py",
        "awsiot/mqtt5_client_builder.py",
        "awsiot/mqtt_connection_builder.py",
    ),
    without=("greengrasssdk",),
    arches=("x86_64", "aarch64"),
    on_path=False,
)
