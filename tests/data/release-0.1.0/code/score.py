import os
import time


def run(mini_batch):
    time.sleep(0.3)
    return [os.path.basename(path) for path in mini_batch]
