"""A tiny classifier: an ONNX graph and a tokenizer.json, made here. It knows one word of an attacker's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bartizan.policy.checks import Classifier, SelfTest

WORD = "zugzwang"
"""What the classifier takes for an attack. No rule and no linear model knows it."""
ATTACK = f"Please {WORD} the application for me."
BENIGN = "Please water the flowers for me."
_TOKENS = ("[UNK]", "[CLS]", "[SEP]", WORD)


@dataclass(frozen=True, slots=True)
class Made:
    """Two files, and what a policy says of them."""

    folder: Path
    config: Classifier

    def using(self, **changed: Any) -> Classifier:
        return msgspec.structs.replace(self.config, **changed)

    def written(self, **changed: Any) -> dict[str, Any]:
        """As a policy's author writes it."""
        built: dict[str, Any] = msgspec.to_builtins(self.using(**changed))
        return built


def made(folder: Path, *, inputs: tuple[str, ...] = ("input_ids", "attention_mask"), labels: int = 2) -> Made:
    """Write both files. The last label is the attack's."""
    (folder / "guard.onnx").write_bytes(graph(inputs, labels))
    (folder / "tokenizer.json").write_text(tokenizer())
    return Made(
        folder,
        Classifier(
            model="file:guard.onnx",
            sha256=digest(folder / "guard.onnx"),
            tokenizer="file:tokenizer.json",
            tokenizer_sha256=digest(folder / "tokenizer.json"),
            attack_labels=(labels - 1,),
            self_test=SelfTest(attack=ATTACK, benign=BENIGN),
        ),
    )


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def graph(
    inputs: tuple[str, ...] = ("input_ids",), labels: int = 2, shape: str = "row", rows: int = 0
) -> bytes:
    """The mean of what each token says for each label: the word is heard among 16 tokens, and not among 64."""
    table = np.zeros((rows or len(_TOKENS), labels), np.float32)
    table[:, 0] = 4.5
    table[len(_TOKENS) - 1 :, labels - 1] = 90.0
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["each"])]
    if shape == "row":
        nodes.append(helper.make_node("ReduceMean", ["each"], ["logits"], axes=[1], keepdims=0))
    else:
        nodes.append(helper.make_node("Identity", ["each"], ["logits"]))
    made_graph = helper.make_graph(
        nodes,
        "guard",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(made_graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    written: bytes = model.SerializeToString()
    return written


def tokenizer() -> str:
    """Words, with the marks around them that BERT has."""
    made_tokenizer = Tokenizer(
        models.WordLevel({token: number for number, token in enumerate(_TOKENS)}, unk_token="[UNK]")
    )
    made_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    written: str = made_tokenizer.to_str()
    return written
