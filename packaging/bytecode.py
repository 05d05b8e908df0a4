"""Makes the bytecode in the zip, with an interpreter of the zip's own Python version.

A Greengrass core unpacks the zip read-only, so without bytecode each start of the function compiles everything again.
The files are unchecked hash-based pycs (PEP 552), which Python loads without comparing them with the source.

The same sources give the same bytes on any 64-bit builder with the same release of that Python. For this the
interpreter runs with hash seed 0 and without site, and file names are relative. Also, marshal writes a mark at each
object that has more than one reference, and whether a string has others depends on what the process has imported. So
while the bytecode is written, a second reference to every string is held, and all strings get the mark. Observed:
3.11.2 and 3.11.7 give the same bytes; other pairs may not.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional

# Run by the interpreter of the zip's version: JSON {name: source} on stdin, {name: bytecode} on stdout, both base64.
# Docstrings and asserts (optimize=2) and annotations are left out: nothing on a device uses them, and they cost memory.
# The annotations of a NamedTuple name its fields and must stay; as Python would compile their texts at each start, each
# text is replaced by None.
COMPILE = """
import ast, base64, importlib.util, json, marshal, sys, types

class WithoutAnnotations(ast.NodeTransformer):
    scope = "module"

    def visit_inside(self, node, scope):
        outer, self.scope = self.scope, scope
        self.generic_visit(node)
        self.scope = outer
        return node

    def visit_ClassDef(self, node):
        plain = not (node.bases or node.keywords or node.decorator_list)
        return self.visit_inside(node, "plain class" if plain else "class")

    def visit_FunctionDef(self, node):
        node.returns = None
        return self.visit_inside(node, "function")

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        if self.scope == "class":  # of which a base or a decorator may use the annotated names
            node.annotation = ast.NameConstant(None)
        elif node.value is not None:
            node = ast.copy_location(ast.Assign([node.target], node.value), node)
        elif self.scope != "function":  # there the name becomes a local one
            node = ast.copy_location(ast.Pass(), node)
        return ast.fix_missing_locations(node)

def is_future_of_annotations(node):
    is_future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return is_future and [alias.name for alias in node.names] == ["annotations"]

def texts(value):
    if isinstance(value, types.CodeType):
        names = value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars
        value = (value.co_filename, value.co_name, getattr(value, "co_qualname", ""), names, value.co_consts)
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, frozenset)):
        for item in value:
            yield from texts(item)

compiled = {}
for name, text in sorted(json.load(sys.stdin).items()):
    source = base64.b64decode(text)
    tree = WithoutAnnotations().visit(ast.parse(source, name))
    # With this import the None of a field would be kept as a text, too.
    tree.body = [node for node in tree.body if not is_future_of_annotations(node)]
    code = compile(tree, name, "exec", dont_inherit=True, optimize=2)
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    referred_to = list(texts(code))
    compiled[name] = base64.b64encode(header + marshal.dumps(code, 4)).decode()
json.dump(compiled, sys.stdout)
"""
IDENTIFY = "import sys; print(sys.implementation.name, *sys.version_info[:4])"


class CompileError(Exception):
    """A source file can't be compiled; the text says which and why."""


class Interpreter(NamedTuple):
    """A CPython on this machine.

    path: the program's
    release: such as 3.11.7
    """

    path: str
    release: str


def find_interpreter(version: str) -> Optional[Interpreter]:
    """Return a CPython of a version such as "3.11" from PATH or pyenv, or the running one if it fits; or None."""
    for path in _candidates(version):
        # A pyenv shim of a version that is not active fails here.
        try:
            asked = subprocess.run([path, "-I", "-c", IDENTIFY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError:
            continue
        name, *parts = asked.stdout.decode(errors="replace").split() or [""]
        if asked.returncode == 0 and name == "cpython" and parts[3:] == ["final"] and ".".join(parts[:2]) == version:
            return Interpreter(path, ".".join(parts[:3]))
    return None


def _candidates(version: str) -> Iterator[str]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    root = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")))
    yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))
    yield sys.executable


def compile_sources(interpreter: Interpreter, sources: Dict[str, bytes]) -> Dict[str, bytes]:
    """Return the content of the .pyc file of each source, by the same relative name; tracebacks show that name.

    Raises CompileError.
    """
    request = json.dumps({name: base64.b64encode(source).decode() for name, source in sources.items()})
    # -s -S instead of -I, which would ignore PYTHONHASHSEED.
    done = subprocess.run(
        [interpreter.path, "-s", "-S", "-W", "ignore", "-c", COMPILE],
        input=request.encode(),
        capture_output=True,
        # The second leaves the columns of tracebacks out (3.11 and later); the lines stay.
        env={"PYTHONHASHSEED": "0", "PYTHONNODEBUGRANGES": "1"},
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
        place = "".join(line for line in lines[-5:] if line.startswith("File "))
        raise CompileError(
            f"Python {interpreter.release} ({interpreter.path}) can't compile the sources: {lines[-1:]} {place}"
        )
    return {name: base64.b64decode(text) for name, text in json.loads(done.stdout.decode()).items()}


def cached_name(source: str, version: str) -> str:
    """Return where an unpacked zip has the bytecode of a source: connector/__pycache__/report.cpython-311.pyc."""
    folder, _, module = source.rpartition("/")
    name = "{}.cpython-{}.pyc".format(module[: -len(".py")], version.replace(".", ""))
    return "/".join(filter(None, [folder, "__pycache__", name]))
