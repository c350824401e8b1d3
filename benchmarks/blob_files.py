"""Many small files in blob storage: a job that reads each, against downloads by hand to files that are read, on the same Azurite.

By hand: the SDK's own client, listing included, in as many threads as the runner has requests on their way. The job counts from its start
to its end: the listing, the fetching, two workers that read, the rows, and their commit.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path

from azure.storage.blob import ContainerClient

from benchmarks.measure import command, interleaved, job_file, show
from tests.azurite import Azurite, find_azurite, running_azurite

FILES = int(os.environ.get("BENCHMARK_FILES", "10000"))
ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
SIZE = 4_000  # bytes of each
THREADS = 16
SCRIPT = "def run(mini_batch):\n    return [len(open(path, 'rb').read()) for path in mini_batch]\n"
NUMBERS = count()


def main() -> None:
    program = find_azurite()
    if program is None:
        print("blob_files: no Azurite, and none to be had from npm")
        return
    folder = Path(tempfile.mkdtemp(prefix="blob-files-"))
    try:
        with running_azurite(program) as azurite:
            container = azurite.container()
            fill(azurite.client(container))
            write_workspace(folder, azurite, container)
            contestants = {"by hand": partial(by_hand, azurite, container, folder), "the runner": partial(job, folder)}
            show(f"{FILES:,} files of {SIZE:,} bytes", "files/s", interleaved(contestants, ROUNDS), against="by hand")
    finally:
        shutil.rmtree(folder)


def fill(client: ContainerClient) -> None:
    data = os.urandom(SIZE)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda number: client.upload_blob(f"in/{number // 100:04d}/{number:06d}.bin", data), range(FILES)))


def by_hand(azurite: Azurite, container: str, folder: Path) -> float:
    target = folder / f"hand-{next(NUMBERS)}"
    target.mkdir()
    began = time.perf_counter()
    client = azurite.client(container)

    def fetch(name: str) -> int:
        path = target / name.replace("/", "_")
        path.write_bytes(client.download_blob(name, max_concurrency=1).readall())
        return len(path.read_bytes())

    with ThreadPoolExecutor(THREADS) as pool:
        sizes = list(pool.map(fetch, [blob.name for blob in client.list_blobs(name_starts_with="in/")]))
    took = time.perf_counter() - began
    assert sizes == [SIZE] * FILES
    return FILES / took


def write_workspace(folder: Path, azurite: Azurite, container: str) -> None:
    datastore = {
        "type": "azure_blob",
        "account_name": azurite.account,
        "container_name": container,
        "endpoint": azurite.endpoint,
        "credentials": {"account_key": azurite.key},
    }
    workspace = folder / "workspace.yml"
    workspace.touch(mode=0o600)
    workspace.write_text(json.dumps({"datastores": {"az": datastore}}))
    (folder / "code").mkdir()
    (folder / "code" / "score.py").write_text(SCRIPT)
    job_file(
        folder,
        inputs={"data": {"type": "uri_folder", "path": "azureml://datastores/az/paths/in"}},
        outputs={"rows": {"type": "uri_file", "path": "azureml://datastores/az/paths/out/rows.txt"}},
        input_data="${{inputs.data}}",
        mini_batch_size="10",
        max_concurrency_per_instance=2,
        task={"type": "run_function", "code": "code", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"},
    )


def job(folder: Path) -> float:
    words = ["job", "create", "-f", "job.yml", "-n", f"job-{next(NUMBERS)}", "--local", "--stream", "-o", "json"]
    record = json.loads(command(*words, cwd=folder, workspace=folder))
    assert record["progress"]["items"]["succeeded"] == FILES
    began, ended = (datetime.fromisoformat(record[key].replace("Z", "+00:00")) for key in ("started_at", "ended_at"))
    return FILES / (ended - began).total_seconds()


if __name__ == "__main__":
    main()
