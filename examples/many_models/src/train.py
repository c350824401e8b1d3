"""Entry script: trains a model on the sales of one brand in one store, the rows of a mini-batch."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd


def init():
    global arguments
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--held_out_weeks", type=int, required=True)
    arguments, _ = parser.parse_known_args()


def run(mini_batch, mini_batch_context):
    """The rows of a store and brand → one row: how far off the model is in the weeks that it has not seen."""
    key = mini_batch_context.partition_key_value
    rows = mini_batch.sort_values("week")
    known, later = rows[: -arguments.held_out_weeks], rows[-arguments.held_out_weeks :]
    weights, *_ = np.linalg.lstsq(features(known), known["sold"], rcond=None)
    error = np.abs(features(later) @ weights / later["sold"] - 1).mean()
    model = {**key, "weights": weights.round(6).tolist()}
    (arguments.models / f"{key['store']}-{key['brand']}.json").write_text(json.dumps(model))
    return pd.DataFrame([{**key, "weeks": len(known), "error": round(float(error), 4)}])


def features(rows):
    """What the sales of a week depend on: shape (weeks, 5)."""
    year = 2 * np.pi * rows["week"] / 52
    return np.column_stack([np.ones(len(rows)), rows["price"], rows["week"], np.sin(year), np.cos(year)])
