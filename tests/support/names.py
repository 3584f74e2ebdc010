"""A tiny model of names: an ONNX graph and a tokenizer.json, made here. It knows two people, a town and a house of trade,
and takes May for a person only where Anna stands in the same segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bartizan.policy.checks import NameModel, Names, NamesSelfTest
from tests.support.classifiers import digest

NAMED, NAMELESS = "Hi, I am Anna Rivera.", "The tea is hot."
_LABELS = ("O", "B-PER", "I-PER", "B-LOC", "B-ORG")
_SAID = {"Anna": 1, "Rivera": 2, "Bogota": 3, "Acme": 4}
_TOKENS = ("[UNK]", "[CLS]", "[SEP]", *_SAID, "May")


@dataclass(frozen=True, slots=True)
class Made:
    """Two files, and what a policy says of them."""

    folder: Path
    config: Names

    def using(self, **changed: Any) -> Names:
        """Of the model, or of what is said of names."""
        own = {name: changed.pop(name) for name in list(changed) if name in NameModel.__struct_fields__}
        assert isinstance(self.config.model, NameModel)
        model = msgspec.structs.replace(self.config.model, **own)
        return msgspec.structs.replace(self.config, model=model, **changed)

    def written(self, **changed: Any) -> dict[str, Any]:
        """As a policy's author writes it."""
        built: dict[str, Any] = msgspec.to_builtins(self.using(**changed))
        return built


def made(folder: Path) -> Made:
    """Write both files."""
    (folder / "names.onnx").write_bytes(graph())
    (folder / "words.json").write_text(tokenizer())
    model = NameModel(
        file="file:names.onnx",
        sha256=digest(folder / "names.onnx"),
        tokenizer="file:words.json",
        tokenizer_sha256=digest(folder / "words.json"),
        labels={"person": (1, 2), "place": (3,), "organisation": (4,)},
    )
    return Made(folder, Names(model=model, self_test=NamesSelfTest(named=NAMED, nameless=NAMELESS)))


def graph(*, per_token: bool = True) -> bytes:
    """What each token says, and what the mean of all of them says to one that listens."""
    says = np.zeros((len(_TOKENS), len(_LABELS)), np.float32)
    says[:, 0] = 8.0
    for token, label in _SAID.items():
        says[_TOKENS.index(token)] = 0.0
        says[_TOKENS.index(token), label] = 8.0
    hints, hears = np.zeros_like(says), np.zeros_like(says)
    hints[_TOKENS.index("Anna"), 1] = 1.0
    hears[_TOKENS.index("May"), 1] = 100_000.0
    parts = {"says": says, "hints": hints, "hears": hears}
    nodes = [helper.make_node("Gather", [name, "input_ids"], [f"each_{name}"]) for name in parts]
    nodes += [
        helper.make_node("ReduceMean", ["each_hints"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "each_hears"], ["heard"]),
        helper.make_node("Add", ["each_says", "heard"], ["every"]),
        helper.make_node("Identity", ["every"], ["logits"])
        if per_token
        else helper.make_node("ReduceMean", ["every"], ["logits"], axes=[1], keepdims=0),
    ]
    made_graph = helper.make_graph(
        nodes,
        "names",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, name) for name, table in parts.items()],
    )
    model = helper.make_model(made_graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    written: bytes = model.SerializeToString()
    return written


def tokenizer(*, words: bool = True) -> str:
    """Words, with the marks around them that BERT has; without `words` a whole text is one."""
    made_tokenizer = Tokenizer(
        models.WordLevel({token: number for number, token in enumerate(_TOKENS)}, unk_token="[UNK]")
    )
    if words:
        made_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    written: str = made_tokenizer.to_str()
    return written
