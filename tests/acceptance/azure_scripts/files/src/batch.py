import argparse
import os

parser = argparse.ArgumentParser()
parser.add_argument("--model")
args, _ = parser.parse_known_args()


def init():
    global model
    model = open(os.path.join(args.model, "model.txt")).read().strip() if args.model else "-"


def run(mini_batch):
    rows = []
    for path in mini_batch:
        with open(path) as file:
            rows.append(f"{os.path.basename(path)} {file.read().strip()} {model}")
    return rows
