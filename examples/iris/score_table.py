"""Entry script of the iris example: which species is the flower of each row?"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd


def init():
    """Once in each worker process: loads the model."""
    global model
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    arguments, _ = parser.parse_known_args()
    model = json.loads(Path(arguments.model).read_text())


def run(mini_batch, mini_batch_context):
    """A DataFrame of some rows → a DataFrame of as many."""
    scores = mini_batch[model["columns"]].to_numpy() @ np.transpose(model["weights"]) + model["bias"]
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return pd.DataFrame(
        {
            "flower": mini_batch["flower"],
            "species": np.take(model["species"], scores.argmax(axis=1)),
            "probability": (weights.max(axis=1) / weights.sum(axis=1)).round(3),
            "mini_batch": mini_batch_context.minibatch_index,
        }
    )
