"""Every leaf of the policy language, walked from its types: what each must have an end-to-end test for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import inspect

from bartizan.policy.schema import ModelPolicy


def leaves(kind: type[msgspec.Struct] = ModelPolicy) -> frozenset[str]:
    """Paths as authors write them. Lists are `[]`, checks stand by their name, choices as `=value`."""
    return frozenset(_walk(inspect.type_info(kind), ""))


def _walk(kind: inspect.Type, path: str) -> Iterator[str]:
    match kind:
        case inspect.Metadata(type=inner):
            yield from _walk(inner, path)
        case inspect.StructType(cls=cls, fields=fields, tag=tag):
            place = f"{path}.{tag}" if tag is not None else path
            del cls
            for field in fields:
                yield from _walk(field.type, f"{place}.{field.encode_name}".lstrip("."))
        case inspect.UnionType(types=types):
            for part in types:
                yield from _walk(part, path)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            yield from _walk(item, f"{path}[]")
        case inspect.DictType(key_type=inspect.LiteralType(values=names)):
            yield from (f"{path}.{name}" for name in names)
        case inspect.LiteralType(values=values):
            yield from (f"{path}={value}" for value in values)
        case inspect.CustomType(cls=cls) if cls is msgspec.UnsetType:
            return
        case _:
            if type(kind).__name__ != "UnsetType":
                yield path
