"""A whole job on a real cluster whose rows go into one blob: what the coordinator sends, gets, reads and writes meanwhile.

    python -m benchmarks.blob_job [--megabytes 2000]

The head is a container of its own, in which no instance runs. Its network counters have everything that it has sent and got while the job
ran, the cluster's own talk and this command's included; of the connections of the owner's process, in which the coordinator lives, the
kernel knows the bytes (`ss`, as root). The process says what it has read and
written (/proc/PID/io): of disks, and of anything, pipes and what the system tells of processes included. These are bounds from above.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.measure import show
from tests.acceptance.blobs import InBlob, in_blob
from tests.acceptance.jobs import ClusterLab, folder_on
from tests.azurite import find_azurite, running_azurite
from tests.cluster import Cluster
from tests.images.build import ensure

PIECE = 1_000_000  # bytes of rows of a mini-batch
IDLE = 20.0  # seconds in which the cluster talks without a job
OWNER = b"runner.cluster.owner"
SCRIPT = f"""
def run(mini_batch):
    number = int(mini_batch[0][-9:-4])
    return ["%0{99}d" % row for row in range(number * {PIECE // 100}, (number + 1) * {PIECE // 100})]
"""


class Watch:
    """The owner's counters, which go with its process and its connections; looked at several times a second."""

    def __init__(self, head: int) -> None:
        """`head`: a process in the head's container."""
        self._head = head
        self.found: dict[int, dict[str, int]] = {}
        self.connections: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(0.2):
            self._look_at_connections()
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    with suppress(OSError):
                        if OWNER in (folder / "cmdline").read_bytes():
                            pairs = [line.split(": ") for line in (folder / "io").read_text().splitlines()]
                            self.found[int(folder.name)] = {name: int(value) for name, value in pairs}

    def _look_at_connections(self) -> None:
        words = ["nsenter", "-t", str(self._head), "-n", "ss", "-tinpHO"]
        for line in subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines():
            if any(f"pid={pid}," in line for pid in self.found):
                ends, counted = " ".join(line.split()[3:5]), re.findall(r"bytes_(?:sent|received):(\d+)", line)
                self.connections[ends] = sum(map(int, counted))

    def total(self, *names: str) -> int:
        return sum(counters[name] for counters in self.found.values() for name in names)


def network(cluster: Cluster) -> int:
    """Bytes that the head has sent and got, but for those to itself."""
    lines = Path(f"/proc/{cluster.head.pid()}/net/dev").read_text().splitlines()[2:]
    words = {name.strip(): rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    return sum(int(each[0]) + int(each[8]) for name, each in words.items() if name != "lo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=int(os.environ.get("BENCHMARK_MB", "2000")))
    given, _ = parser.parse_known_args()
    program = find_azurite()
    if program is None:
        print("\nblob_job: needs azurite-blob, or node and npm")
        return
    ensure(["bare", "node"])
    count = given.megabytes * 1_000_000 // PIECE
    with Cluster(types=("small", "small")) as cluster, running_azurite(program, host=cluster.bridge) as azurite:
        lab = in_blob(ClusterLab, azurite).at(folder_on(cluster, "rows"), cluster)  # type: ignore[attr-defined]
        assert isinstance(lab, InBlob)
        lab.script(SCRIPT)
        lab.files(count)
        lab.instances = 2  # type: ignore[attr-defined]
        lab.job(max_concurrency_per_instance=1, inputs={"data": {"type": "uri_folder", "path": str(lab.folder / "input")}})
        lab.send()
        idle = network(cluster)
        time.sleep(IDLE)
        before, began = network(cluster), time.monotonic()
        idle = before - idle
        with Watch(cluster.head.pid()) as watch:
            process = lab.start("job", "create", "-f", "job.yml", "-n", "rows", "--stream")
            said = process.communicate(timeout=3600)
        took, talked = time.monotonic() - began, network(cluster) - before
        assert process.returncode == 0, said
        with azurite.client(lab.container) as client:
            size = client.get_blob_client(f"{lab.prefix}/out/rows.txt").get_blob_properties().size
        assert size == count * PIECE, size
    print(f"\n{size / 1e6:,.0f} MB of rows in {took:.0f} s")
    shares = {
        "the head's network, sent and got": [100 * talked / size],
        "the owner's connections": [100 * sum(watch.connections.values()) / size],
        "of the head's, what the idle cluster says in this time": [100 * idle / IDLE * took / size],
        "written by the owner, whatever to": [100 * watch.total("wchar") / size],
        "read by the owner, whatever of": [100 * watch.total("rchar") / size],
        "disks, read and written by the owner": [100 * watch.total("read_bytes", "write_bytes") / size],
    }
    assert watch.found
    show("through the coordinator's machine", "% of the rows", shares)


if __name__ == "__main__":
    main()
