"""CEL text -> the syntax tree that Envoy's RBAC takes. Names are Envoy's attributes, whose types only Envoy knows."""

from __future__ import annotations

from cel_expr_python import cel
from google.protobuf.any_pb2 import Any

from protos.gen.google.api.expr.v1alpha1.checked_pb2 import CheckedExpr
from protos.gen.google.api.expr.v1alpha1.syntax_pb2 import Expr

_ENVIRONMENT = cel.NewEnv(variables={"metadata": cel.Type.DYN, "request": cel.Type.DYN})


def syntax_tree(text: str) -> Expr:
    """Raises RuntimeError for what is no expression over `metadata` and `request`."""
    serialized = Any.FromString(_ENVIRONMENT.compile(text).serialize())
    return CheckedExpr.FromString(serialized.value).expr
