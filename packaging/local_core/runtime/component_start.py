"""Runs a native component with a shorter minimum interval: python component_start.py SECONDS PACKAGE ARGUMENT...

A nucleus runs `python -m PACKAGE ARGUMENT...`; no nucleus has an option for the interval.
"""

import os
import runpy
import sys
from importlib import import_module

if __name__ == "__main__":
    seconds, package, *arguments = sys.argv[1:]
    sys.path[0] = os.getcwd()  # as with -m; PYTHONPATH names the artifact
    config = import_module(package + ".config")
    if not hasattr(config, "MIN_SAMPLE_INTERVAL"):
        sys.exit(f"{package}.config has no MIN_SAMPLE_INTERVAL: the interval of this component can't be lowered")
    vars(config)["MIN_SAMPLE_INTERVAL"] = int(seconds)
    sys.argv = [package, *arguments]
    runpy.run_module(package, run_name="__main__", alter_sys=True)
