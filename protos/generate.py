"""Generates protos/gen: Envoy's message modules and our own, with type stubs.

Runs at build time (hatch_build.py) and as `make protos`. xds-protos is only read for its descriptors: installed at
run time it overwrites files of opentelemetry-proto (https://github.com/grpc/grpc/issues/42926). Everything that is
generated lives under the package protos.gen, so it collides with no other distribution.
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor, descriptor_pb2

HERE = Path(__file__).resolve().parent
GEN = HERE / "gen"
# Roots of import paths that move under protos.gen. google.api.expr is not in googleapis-common-protos.
MOVED = ("envoy", "xds", "udpa", "validate", "google.api.expr", "bartizan")
SERVICES = ("envoy/service/", "bartizan/")


def main() -> None:
    """Write protos/gen anew; the old tree is replaced only after everything was generated."""
    roots = [
        line.strip()
        for line in (HERE / "envoy_roots.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    own = sorted(path.relative_to(HERE).as_posix() for path in (HERE / "bartizan").rglob("*.proto"))
    closure = envoy_closure(roots)
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        out = Path(folder) / "gen"
        out.mkdir()
        run_protoc(Path(folder), out, closure, own)
        for path in sorted(out.rglob("*")):
            if path.suffix in {".py", ".pyi"}:
                path.write_text(move_imports(path.read_text()))
        for path in [out, *(p for p in out.rglob("*") if p.is_dir())]:
            (path / "__init__.py").touch()
        shutil.rmtree(GEN, ignore_errors=True)
        shutil.move(out, GEN)


def envoy_closure(roots: list[str]) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The roots and all they import, in dependency order."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: descriptor.FileDescriptor) -> None:
        if file.name in found:
            return
        for dependency in file.dependencies:
            add(dependency)
        message = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(message)
        found[file.name] = message

    for root in roots:
        module = importlib.import_module(root.removesuffix(".proto").replace("/", ".") + "_pb2")
        add(module.DESCRIPTOR)
    return found


def run_protoc(
    folder: Path, out: Path, closure: dict[str, descriptor_pb2.FileDescriptorProto], own: list[str]
) -> None:
    """Compile the closure and our own files with one descriptor set as the only source of imports."""
    files = [name for name in closure if moves(name)]
    envoy_set = folder / "envoy.binpb"
    envoy_set.write_bytes(descriptor_pb2.FileDescriptorSet(file=closure.values()).SerializeToString())
    outputs = [f"--python_out={out}", f"--mypy_out=quiet:{out}"]
    grpc_outputs = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    protoc([f"--descriptor_set_in={envoy_set}", *outputs, *files])
    services = [name for name in files if name.startswith(SERVICES)]
    protoc([f"--descriptor_set_in={envoy_set}", *grpc_outputs, *services])
    well_known = Path(importlib.import_module("grpc_tools").__file__ or "").parent / "_proto"
    protoc([f"-I{HERE}", f"-I{well_known}", *outputs, *grpc_outputs, *own])


def protoc(arguments: list[str]) -> None:
    # The plug-ins protoc-gen-mypy* stand beside this interpreter, also in an isolated build environment.
    plugins = []
    for name in ("mypy", "mypy_grpc"):
        path = shutil.which(f"protoc-gen-{name}") or str(Path(sys.executable).parent / f"protoc-gen-{name}")
        plugins.append(f"--plugin=protoc-gen-{name}={path}")
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *plugins, *arguments], check=True)


def moves(name: str) -> bool:
    return name.startswith(tuple(root.replace(".", "/") + "/" for root in MOVED))


_ROOTS = "|".join(re.escape(root) for root in MOVED)
_FROM = re.compile(rf"^(\s*)from (?=(?:{_ROOTS})(?:\.| ))", re.MULTILINE)
_IMPORT = re.compile(rf"^(\s*)import (?=(?:{_ROOTS})\.)", re.MULTILINE)


def move_imports(text: str) -> str:
    """Rewrite the imports of moved packages, and nothing else (descriptors keep their proto names)."""
    return _IMPORT.sub(r"\1import protos.gen.", _FROM.sub(r"\1from protos.gen.", text))


if __name__ == "__main__":
    main()
