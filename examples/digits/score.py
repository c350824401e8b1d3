"""Entry script of the digits example: which digit is on each picture?"""

import argparse
import os

import numpy as np
from azureml_user.parallel_run import EntryScript
from PIL import Image


def init():
    """Once in each worker process: loads the model."""
    global weights, bias
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    arguments, _ = parser.parse_known_args()
    model = np.load(arguments.model)
    weights, bias = model["weights"], model["bias"]
    EntryScript().logger.info("model %s loaded", arguments.model)


def run(mini_batch):
    """A list of file paths → a line for each: file name, digit."""
    results = []
    for path in mini_batch:
        pixels = np.asarray(Image.open(path), dtype=float).ravel() / 255
        digit = int(np.argmax(weights @ pixels + bias))
        results.append(f"{os.path.basename(path)},{digit}")
    return results
