"""`bartizan policy validate`, `compile`, `fields` and `schema`: what can be said of policy files without a control plane."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from bartizan.api import Validated, items
from bartizan.cli.connection import Connection, pass_connection
from bartizan.cli.documents import show_warnings
from bartizan.cli.output import printable
from bartizan.errors import NotFound, PolicyInvalid
from bartizan.local.files import read_text

if TYPE_CHECKING:
    from bartizan.policy.validate import Mesh

SUFFIXES = (".yaml", ".yml", ".json")
_PATH = click.Path(exists=True, allow_dash=True, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
POLICY_FILE = click.argument("file", type=_FILE)
MESH_FILES = click.option(
    "--mesh", "meshes", type=_FILE, multiple=True, help="File of a MeshPolicy to merge; may be given often."
)


_KINDS = ("ModelPolicy", "MeshPolicy")


@contextmanager
def lines_named(text: str, file: Path, number: int = 0) -> Iterator[None]:
    """What is refused of a file's text names the file, the document in it where there are several, and its lines."""
    try:
        yield
    except PolicyInvalid as refused:
        from bartizan.policy.positions import located

        raise located(refused, text, _shown(file, number)) from None


def _shown(file: Path, number: int) -> str:
    name = "standard input" if str(file) == "-" else str(file)
    return f"{name}, document {number}" if number else name


def _read_texts(file: Path, what: str) -> list[tuple[int, str]]:
    """Each document's text with its number in the file, 0 of the only one."""
    from bartizan.policy.texts import texts_of

    texts = list(texts_of(read_text(file, what)))
    return list(enumerate(texts, start=1)) if len(texts) > 1 else [(0, texts[0])]


def read_meshes(files: tuple[Path, ...]) -> list[Mesh]:
    """Raises PolicyInvalid with every problem of the first document that has one, or with every tie."""
    from bartizan.policy.effective import ties
    from bartizan.policy.validate import read_mesh, read_policy

    meshes = []
    for file in files:
        for number, text in _read_texts(file, "the MeshPolicy"):
            with lines_named(text, file, number):
                meshes.append(read_mesh(read_policy(text)))
    tied = [problem for index, mesh in enumerate(meshes) for problem in ties(mesh, meshes[:index])]
    if tied:
        raise PolicyInvalid("the MeshPolicies contradict each other", tied)
    return meshes


@click.command()
@click.argument("paths", metavar="FILE…", nargs=-1, required=True, type=_PATH)
@MESH_FILES
@pass_connection
def validate(connection: Connection, paths: tuple[Path, ...], meshes: tuple[Path, ...]) -> None:
    """Check files of either kind, or all below a folder; every error at once, and what may not be meant.

    Needs no control plane. "-" is standard input. A file may hold several documents; those of other kinds (a Deployment)
    are passed over. Ends with 2 when one is wrong.
    """
    files, merged = list(_files(paths)), read_meshes(meshes)
    told: list[Any] = []
    for file in files:
        for number, text in _read_texts(file, "the policy"):
            try:
                with lines_named(text, file, number):
                    made = _judge(text, merged, alone=not number)
            except PolicyInvalid as refused:
                where = {"file": str(file)} | ({"document": number} if number else {})
                told.append({**where, "valid": False, "problems": list(map(asdict, refused.problems))})
                if not connection.output.json:
                    click.echo(f"error: {refused}", err=True)
                continue
            if isinstance(made, str):
                click.echo(printable(f"{_shown(file, number)}: {made} is no policy, passed over"), err=True)
                continue
            told.append(made)
            if not connection.output.json:
                click.echo(f"{made.name} is valid")
            show_warnings(connection.output, made.warnings)
    if not told:
        raise NotFound(f"{', '.join(map(str, paths))} holds no policy")
    wrong = sum(not isinstance(each, Validated) for each in told)
    if connection.output.json:
        connection.output.data(told if len(told) > 1 or len(files) > 1 else told[0])
    elif wrong and len(told) > 1:
        click.echo(f"{wrong} of {len(told)} policies are wrong", err=True)
    raise SystemExit(2 if wrong else 0)


def _judge(text: str, meshes: list[Mesh], *, alone: bool) -> Validated | str:
    """What it is instead, of a document of another API among several: one that stands alone is meant to be a policy."""
    from bartizan.policy.effective import effective_policy
    from bartizan.policy.validate import read_mesh, read_policy
    from control_plane.policies.warnings import warnings_of

    written = read_policy(text)
    if not alone and (other := _other_kind(written.document)):
        return other
    if written.is_mesh:
        return Validated(name=f"MeshPolicy {read_mesh(written).policy.name}")
    effective = effective_policy(written, meshes)
    return Validated(name=effective.policy.qualified_name, warnings=items(warnings_of(written, effective)))


def _other_kind(document: dict[str, Any]) -> str:
    """Of a Kubernetes object that is not ours; "" of anything else, which is to be judged, or misspelt."""
    version, kind = document.get("apiVersion"), document.get("kind")
    if not (isinstance(version, str) and isinstance(kind, str)) or version.startswith("bartizan.dev/"):
        return ""
    return f"{kind} of {version}" if kind not in _KINDS else ""


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise NotFound(f"{path} holds no file that ends with {', '.join(SUFFIXES)}")
        yield from found


@click.command("compile")
@POLICY_FILE
@MESH_FILES
@click.option(
    "--explain", is_flag=True, help="Say which part is enforced where, and why, instead of the bundle."
)
@pass_connection
def compile_(connection: Connection, file: Path, meshes: tuple[Path, ...], explain: bool) -> None:
    """Show what sidecars would get for a ModelPolicy's file. Needs no control plane."""
    from bartizan.policy.effective import effective_policy
    from bartizan.policy.validate import read_policy
    from control_plane.compile.bundle import compile_bundle
    from control_plane.compile.explain import explain as explain_policy

    text, merged = read_text(file, "the policy"), read_meshes(meshes)
    with lines_named(text, file):
        effective = effective_policy(read_policy(text), merged)
    if explain:
        lines = explain_policy(effective.policy)
        connection.output.text("\n".join(lines), data=lines)
        return
    bundle = compile_bundle(effective.policy, revision=1, version=1, issued_at="1970-01-01T00:00:00Z")
    connection.output.data(bundle)


_KIND = click.option("--kind", type=click.Choice(_KINDS), default="ModelPolicy")


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from bartizan.policy.fields import Fields

    known = Fields(context.params.get("kind") or "ModelPolicy")
    try:
        below = known.at(incomplete.rpartition(".")[0])[1]
    except NotFound:
        return []
    return [
        CompletionItem(each.path, help=each.meaning) for each in below if each.path.startswith(incomplete)
    ]


@click.command()
@click.argument("path", default="", shell_complete=_complete)
@click.option("--all", "deep", is_flag=True, help="Everything below, not only the next fields.")
@_KIND
@pass_connection
def fields(connection: Connection, path: str, deep: bool, kind: str) -> None:
    """What may be written at a place of a policy: type, default, meaning. PATH is as problems name it; without: the top.

    \b
    Examples: bartizan policy fields spec.limits
              bartizan policy fields input.pii
    """  # noqa: D301
    from bartizan.policy.fields import Fields

    known = Fields(kind)
    field, below = known.at(path)
    if deep:
        below = tuple(known.under(field))
    if connection.output.json:
        connection.output.data({**asdict(field), "fields": below})
        return
    click.echo(f"{field.path or kind}: {field.type}{', required' if field.required and path else ''}")
    for said in (field.meaning, f"default: {field.default}" if field.default else ""):
        if said:
            click.echo(f"  {said}")
    if below:
        click.echo()
        shown = [
            (
                each.path if deep else each.path.rpartition(".")[2],
                each.type + (" …" if each.below else ""),
                "required" if each.required else each.default,
                each.meaning,
            )
            for each in below
        ]
        connection.output.rows(("field", "type", "default", "meaning"), shown, data=below)


@click.command()
@_KIND
@pass_connection
def schema(connection: Connection, kind: str) -> None:
    """The JSON Schema of policies, for editors."""
    from bartizan.policy.jsonschema import mesh_json_schema, policy_json_schema

    connection.output.data(mesh_json_schema() if kind == "MeshPolicy" else policy_json_schema())
