#!/usr/bin/env python3
# PYTHON_ARGCOMPLETE_OK
"""Deploy the connector to AWS IoT Greengrass: `python packaging/deploy.py v2|v1 plan|apply|status|list|remove`.

`v2 local` writes the folders with which a core takes the native component without AWS.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

if sys.version_info < (3, 10):
    sys.exit(
        "deploy.py: this is Python {}.{}; 3.10 or later is needed. With PYTHON=python3.12, for example, this makes an "
        "environment for it: packaging/venv.sh build/tools packaging/requirements-tools.txt".format(*sys.version_info)
    )
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # for `connector`, when run by its path
try:
    from botocore.exceptions import BotoCoreError, ClientError
    from deployment import verbs
    from deployment.aws import Aws, connect
    from deployment.command_line import NAME, NATIVE_NAME, parse, parser
    from deployment.errors import DeployError
except ModuleNotFoundError as missing:
    sys.exit(
        f"deploy.py: {missing}. Make an environment with what it needs, and use its python:"
        " packaging/venv.sh build/tools packaging/requirements-tools.txt"
    )

__all__ = ["NAME", "NATIVE_NAME", "main", "parser"]
EXIT_INTERRUPTED = 130
_STOPPED = "stopped; `status` shows how far it came, and the same command goes on from there"


def main(argv: list[str] | None = None, aws: Aws | None = None, ask: Callable[[str], str] = input) -> int:
    """Run one command line; return the exit code. Tests pass `aws` and `ask` for the account and the person."""

    def account() -> Aws:
        nonlocal aws
        aws = aws or connect(args.profile, args.region, _say)
        return aws

    try:
        args = parse(argv)
        code = _run(args, account, ask)
        print(end="", flush=True)  # sys.stdout is None where standard output is closed
        return code
    except DeployError as error:
        _say(str(error))
        return error.exit_code
    except (ClientError, BotoCoreError) as error:
        _say(aws.explain(error) if aws else str(error))
        return DeployError.exit_code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        _say(_STOPPED)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader closed the pipe, as `head` does; what is left in the buffer is dropped
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if args.verb in ("apply", "remove"):
            _say(f"nobody reads what is printed: {_STOPPED}")
            return DeployError.exit_code
        return 0


def _run(args: argparse.Namespace, account: Callable[[], Aws], ask: Callable[[str], str]) -> int:
    if args.verb == "local":
        return verbs.write_local(args)
    if args.verb == "list":
        return verbs.show_list(args, account)
    if args.verb == "status":
        return verbs.status(args, account)
    return (verbs.remove if args.verb == "remove" else verbs.plan_or_apply)(args, account, ask)


def _say(text: str) -> None:
    print(f"deploy.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
