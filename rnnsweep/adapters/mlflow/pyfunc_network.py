"""A trained network behind MLflow's pyfunc: a step per row in, its predictions out, as `rnnsweep predict` says them.

MLflow copies this file into the model and runs it where the model is loaded. It reads an exported program and a file of
JSON beside it, no pickle, and needs mlflow, numpy, pandas and torch alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext

Named = list[tuple[str, np.ndarray]]
"""Name and inputs [steps, inputs] of each sequence."""
_BATCH = 256
"""Sequences at once."""


class Network(PythonModel):
    """Reads ``network`` (torch's exported program) and ``facts`` (JSON) among the model's artifacts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Once, before the first prediction."""
        self.read(Path(context.artifacts["network"]), Path(context.artifacts["facts"]))

    def read(self, network: Path, facts: Path) -> None:
        """The two files."""
        self.facts: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
        self.program = torch.export.load(network).module()

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] - MLflow takes what it returns
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predictions, a row per sequence, or per step from 1 where there is one at every step.

        Args:
            context: not used.
            model_input: a step per row, with the columns of the signature; that of the sequences' names may be missing.
                Of texts a sequence per row.
            params: not used.

        Raises:
            ValueError: a cell is empty where the training allowed none.
        """
        del context, params
        return self.answer(model_input)

    def answer(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """See `predict`."""
        sequences = self._texts(model_input) if self.facts["text"] else self._sequences(model_input)
        rows: list[list[Any]] = []
        for start in range(0, len(sequences), _BATCH):
            some = sequences[start : start + _BATCH]
            for (name, _), outputs in zip(some, self._answers([values for _, values in some]), strict=True):
                rows += [[name, *row] for row in self._rows(outputs)]
        head = ["sequence"] + ["step"] * self.facts["per_step"] + ["class"] * (self.facts["classes"] is not None)
        return pd.DataFrame(rows, columns=[*head, *self.facts["outputs"]])

    def _sequences(self, frame: pd.DataFrame) -> Named:
        facts, group = self.facts, self.facts["group"]
        parts = frame.groupby(group, sort=False) if group in frame else [("0", frame)]
        found: Named = []
        for name, part in parts:
            rows = part.sort_values(facts["time"], kind="stable") if facts["time"] else part
            values = rows[facts["columns"]].to_numpy(dtype=np.float64)
            gaps = np.isnan(values)
            if gaps.any() and facts["missing"] == "error":
                column = facts["columns"][int(np.argwhere(gaps)[0][1])]
                raise ValueError(f"sequence {name}: column {column} has an empty cell")
            filled = self._filled(values, gaps)
            scaled = ((filled - np.array(facts["mean"])) / np.array(facts["deviation"])).astype(np.float32)
            flags = gaps[:, facts["flagged"]].astype(np.float32)
            found.append((_text(name), np.concatenate([scaled, flags], 1)))
        return found

    def _filled(self, values: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        missing = self.facts["missing"]
        if missing == "zero" or not gaps.any():
            return np.where(gaps, 0.0, values)
        mean = np.array(self.facts["fill"])
        if missing == "mean":
            return np.where(gaps, mean, values)
        # the row of the last value so far
        last = np.maximum.accumulate(np.where(gaps, -1, np.arange(len(values))[:, None]), 0)
        return np.where(last >= 0, np.take_along_axis(values, last.clip(min=0), 0), mean)

    def _texts(self, frame: pd.DataFrame) -> Named:
        facts = self.facts["text"]
        known = {token: code for code, token in enumerate(facts["vocabulary"])}
        found: Named = []
        for index, text in enumerate(frame[facts["column"]]):
            tokens = re.findall(facts["pattern"], text) if facts["pattern"] else list(text)
            codes = [known.get(token, 0) for token in tokens]
            found.append((str(index), np.eye(len(known), dtype=np.float32)[codes]))
        return found

    def _answers(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        """Outputs [steps or 1, outputs] of each sequence."""
        dtype = getattr(torch, self.facts["dtype"])
        lengths = torch.tensor([len(values) for values in sequences])
        longest = int(lengths.max())
        inputs = torch.zeros(longest, len(sequences), sequences[0].shape[1], dtype=dtype)
        for index, values in enumerate(sequences):
            inputs[longest - len(values) :, index] = torch.from_numpy(values)  # right-aligned
        with torch.no_grad():
            outputs = self.program(inputs, lengths)
        if self.facts["kind"] == "classes":
            outputs = torch.softmax(outputs, -1)
        elif self.facts["kind"] == "labels":
            outputs = torch.sigmoid(outputs)
        found = outputs.double().numpy()
        if self.facts["scale"]:
            found = found * np.array(self.facts["scale"]["deviation"]) + np.array(self.facts["scale"]["mean"])
        if not self.facts["per_step"]:
            return list(found[:, None])
        return [found[longest - length :, index] for index, length in enumerate(lengths.tolist())]

    def _rows(self, outputs: np.ndarray) -> list[list[Any]]:
        classes, rows = self.facts["classes"], []
        for step, values in enumerate(outputs, 1):
            likeliest = [] if classes is None else [classes[int(values.argmax())]]
            rows.append([*([step] if self.facts["per_step"] else []), *likeliest, *values.tolist()])
        return rows


def _text(name: Any) -> str:
    """The name of a sequence, whole numbers without a point."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


mlflow.models.set_model(Network())
