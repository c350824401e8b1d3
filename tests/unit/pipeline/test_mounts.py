"""What a container is given of this machine: plain data, no engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model.docker import BindMount
from runner.model.job import JobInput, JobOutput, Step
from runner.model.paths import JobPaths
from runner.model.ports import InstanceRequest
from runner.pipeline.mounts import AGENT_FOLDER, check_place, folder_of, for_container, path_mounts, read_paths


def test_inputs_are_read_only_and_outputs_win_over_them() -> None:
    found = path_mounts(read_only=["/data", "/same"], writable={"/out": True, "/same": False}, own=["/own"], protected="/w/.runner/jobs/j")
    assert found == (
        BindMount(source="/data", target="/data", shared=True),
        BindMount(source="/out", target="/out", read_only=False, shared=True),
        BindMount(source="/own", target="/own", read_only=False),
        BindMount(source="/same", target="/same", read_only=False, shared=True, whole=False),
    )


def test_the_jobs_own_folder_is_protected_below_a_writable_one() -> None:
    found = path_mounts(read_only=[], writable={"/w": True}, own=["/w/.runner/jobs/j/workers/node_0"], protected="/w/.runner/jobs/j")
    assert [(one.target, one.read_only) for one in found] == [
        ("/w", False),
        ("/w/.runner/jobs/j", True),
        ("/w/.runner/jobs/j/workers/node_0", False),
    ]


@pytest.mark.parametrize("path", ["/", "/usr", "/usr/lib/x", "/etc", "/proc/1", "/dev", "/run/x", "/sys/fs", "/bin"])
def test_places_of_the_image(path: str) -> None:
    with pytest.raises(UserError, match="images keep files of their own there"):
        check_place(path)


@pytest.mark.parametrize("path", ["/data", "/home/ann", "/dev/shm/x", "/usr/share/data", "/usrx", "/mnt", "/opt/data", "/run/media/disk"])
def test_places_that_are_free(path: str) -> None:
    check_place(path)


def step_with(**keys: object) -> Step:
    return Step(name="job", **keys)  # type: ignore[arg-type]


def test_what_tables_name_is_given_too(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "MLTable").write_text("paths:\n  - file: ../a.txt\n  - folder: ../more\n  - pattern: ../other/*/x.csv\n")
    inputs = {
        "data": JobInput(type="mltable", path=str(tmp_path / "table")),
        "side": JobInput(type="uri_file", path="/side.txt"),
        "number": JobInput(type="integer", value=3),
    }
    step = step_with(inputs=inputs, model="/models/m")
    below = {str(tmp_path / name) for name in ("table", "a.txt", "more", "other")}
    assert set(read_paths(step, {"/side.txt": "/moved"})) == {"/models/m", "/side.txt", "/moved", *below}


def test_many_files_of_a_table_are_given_by_their_folders(tmp_path: Path) -> None:
    lines = "".join(f"  - file: ../files/{number}.txt\n" for number in range(101))
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "MLTable").write_text("paths:\n" + lines)
    step = step_with(inputs={"data": JobInput(type="mltable", path=str(tmp_path / "table"))})
    assert read_paths(step, {}) == [str(tmp_path / "table"), str(tmp_path / "files")]


def test_of_a_file_its_folder_is_mounted() -> None:
    step = step_with(outputs={"rows": JobOutput(type="uri_file", path="/out/rows.txt"), "more": JobOutput(type="uri_folder", path="/more")})
    assert folder_of("/out/rows.txt", step) == "/out"
    assert folder_of("/more", step) == "/more"
    assert folder_of("/instances/node_1/rows/rows.txt", step) == "/instances/node_1/rows"


def test_the_request_of_an_instance(tmp_path: Path) -> None:
    paths = JobPaths(tmp_path / "job", tmp_path / "logs")
    request = InstanceRequest(job="job", node="node_0", python="/usr/bin/python3", agent="/agent", sockets="", working_dir="/host")
    step = step_with(inputs={"data": JobInput(type="uri_folder", path="/data")})
    found = for_container(request, step, paths, moved={}, written=[str(tmp_path / "out")], tracking=tmp_path / "mlruns")
    targets = {one.target: one.read_only for one in found.mounts}
    assert (found.agent, found.working_dir) == (AGENT_FOLDER, str(tmp_path / "job" / "workers" / "node_0"))
    assert targets[AGENT_FOLDER]
    assert targets["/data"]
    assert not targets[str(tmp_path / "out")]
    assert not targets["/run/runner/home"]
    assert str(tmp_path / "job") not in targets  # neither journal nor parts
    assert (tmp_path / "out").is_dir()
