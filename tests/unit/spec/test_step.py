"""Settings, ports and tasks of one parallel step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import NotSupportedHere, UserError, UserErrors
from runner.model.datastore import DataAsset
from runner.model.docker import DockerPolicy
from runner.model.job import JobInput, JobOutput, Resources, RetrySettings, Step, SystemArguments
from runner.spec import stored

Make = Callable[..., Step]
MINIMAL: dict[str, object] = {
    "type": "parallel",
    "inputs": {"images": {"type": "uri_folder", "path": "images"}},
    "input_data": "${{inputs.images}}",
    "task": {"type": "run_function", "code": "src", "entry_script": "score.py"},
}


def test_all_defaults(from_mapping: Make, folder: Path) -> None:
    assert from_mapping(MINIMAL) == Step(
        name="job_1",
        experiment_name="here",
        compute="local",
        code=str(folder / "src"),
        entry_script="score.py",
        inputs={"images": JobInput(type="uri_folder", path=str(folder / "images"), uri="images")},
        input_data="images",
    )


def test_a_job_file(step: Make, folder: Path) -> None:
    job = step()
    assert job.mini_batch_size == 2
    assert job.retry == RetrySettings(max_retries=1, timeout=30)
    assert job.program_arguments == ("--limit", "3")
    assert job.append_row_to == "rows"
    assert job.outputs == {"rows": JobOutput(type="uri_file", path=str(folder / "out/rows.txt"), uri="./out/rows.txt")}
    assert job.environment_variables == {"COLOUR": "green"}
    assert job.notices == ()


@pytest.mark.parametrize("value", ["7", "'7'", "${{inputs.seven}}", "${{inputs.text}}"])
@pytest.mark.parametrize(
    ("old", "new", "get"),
    [
        ("mini_batch_size: 2", "mini_batch_size: ", lambda job: job.mini_batch_size),
        ("max_concurrency_per_instance: 1", "max_concurrency_per_instance: ", lambda job: job.max_concurrency_per_instance),
        ("mini_batch_error_threshold: 1", "mini_batch_error_threshold: ", lambda job: job.mini_batch_error_threshold),
        ("resources:\n  instance_count: 1", "instance_count: ", lambda job: job.resources.instance_count),
        ("  max_retries: 1", "  max_retries: ", lambda job: job.retry.max_retries),
        ("  timeout: 30", "  timeout: ", lambda job: job.retry.timeout),
        ("  instance_count: 1", "  instance_count: ", lambda job: job.resources.instance_count),
    ],
)
def test_numbers_numeric_strings_and_bindings(step: Make, old: str, new: str, get: Callable[[Step], object], value: str) -> None:
    assert get(step(("  limit: 3", "  limit: 3\n  seven: 7\n  text: '7'"), (old, new + value))) == 7


def test_zero_is_a_value(step: Make) -> None:
    job = step(("  max_retries: 1", "  max_retries: 0"), ("mini_batch_error_threshold: 1", "mini_batch_error_threshold: 0"))
    assert (job.retry.max_retries, job.mini_batch_error_threshold) == (0, 0)


@pytest.mark.parametrize(
    ("written", "size", "unit"),
    [
        ("10", 10, False),
        ("'10'", 10, False),
        ("10kb", 10240, True),
        ("10 KB", 10240, True),
        ("1m", 1 << 20, True),
        ("2GB", 2 << 30, True),
        ("3k", 3072, True),
    ],
)
def test_sizes_of_mini_batches(step: Make, written: str, size: int, unit: bool) -> None:
    job = step(
        ("    type: uri_folder\n    path: ./images", "    type: mltable\n    path: ./table"),
        ("mini_batch_size: 2", f"mini_batch_size: {written}"),
    )
    assert (job.mini_batch_size, job.mini_batch_size_has_unit) == (size, unit)


class TestArguments:
    def test_arguments_count_where_no_attribute_is_written(self, step: Make) -> None:
        words = "--error_threshold 5 --allowed_failed_count 6 --allowed_failed_percent 7"
        job = step(("mini_batch_error_threshold: 1\nerror_threshold: 1\n", ""), ("--limit ${{inputs.limit}}", words))
        assert (job.error_threshold, job.mini_batch_error_threshold, job.arguments.allowed_failed_percent) == (5, 6, 7)
        assert job.program_arguments == tuple(words.split())
        assert job.notices == ()

    def test_an_attribute_beats_an_argument_with_a_warning(self, step: Make) -> None:
        job = step(("--limit ${{inputs.limit}}", "--error_threshold 5 --allowed_failed_count 1"))
        assert (job.error_threshold, job.mini_batch_error_threshold) == (1, 1)
        assert job.notices == ("error_threshold: 1 wins over --error_threshold 5",)

    def test_a_list_of_arguments(self, step: Make) -> None:
        assert step(("--limit ${{inputs.limit}}", "['--a b', \"--c\"]")).program_arguments == ("--a", "b", "--c")

    @pytest.mark.parametrize(("timeout", "expected"), [("60", 600), ("190", 600), ("191", 603), ("1000", 3030)])
    def test_the_default_of_the_progress_time_out(self, step: Make, timeout: str, expected: float) -> None:
        assert step(("  timeout: 30", f"  timeout: {timeout}")).arguments == SystemArguments(progress_update_timeout=expected)

    def test_a_path_with_blanks_is_one_argument(self, step: Make, folder: Path) -> None:
        (folder / "my images").mkdir()
        job = step(("./images", "./my images"), ("--limit ${{inputs.limit}}", "--in ${{inputs.images}} --out=${{outputs.rows}}"))
        assert job.program_arguments == ("--in", str(folder / "my images"), f"--out={folder}/out/rows.txt")


class TestInputs:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("3", JobInput(type="integer", value=3)),
            ("0.5", JobInput(type="number", value=0.5)),
            ("false", JobInput(type="boolean", value=False)),
            ("word", JobInput(type="string", value="word")),
            ("'3'", JobInput(type="string", value="3")),
            ("/opt/model", JobInput(type="string", value="/opt/model")),
            ("{type: integer, value: '3'}", JobInput(type="integer", value=3)),
            ("{type: number, default: 1}", JobInput(type="number", value=1.0)),
            ("{type: boolean, value: 'True'}", JobInput(type="boolean", value=True)),
            ("{type: string, value: 1.10}", JobInput(type="string", value="1.10")),
            ("{value: 3}", JobInput(type="integer", value=3)),
            ("{type: integer, optional: true}", JobInput(type="integer", optional_unset=True)),
            ("x-${{name}}", JobInput(type="string", value="x-job_1")),
        ],
    )
    def test_literals(self, step: Make, written: str, expected: JobInput) -> None:
        assert step(("  limit: 3", f"  limit: 3\n  more: {written}")).inputs["more"] == expected

    @pytest.mark.parametrize(
        ("written", "kind", "path", "mode"),
        [
            ("./conda.yml", "uri_file", "conda.yml", "ro_mount"),
            ("./src", "uri_folder", "src", "ro_mount"),
            ("{path: src/}", "uri_folder", "src", "ro_mount"),
            ("{path: ./conda.yml}", "uri_file", "conda.yml", "ro_mount"),
            ("{type: MLTable, path: ./table, mode: Eval_Mount}", "mltable", "table", "eval_mount"),
            ("{type: custom_model, path: ./src, mode: download}", "custom_model", "src", "download"),
            ("azureml://datastores/workspaceblobstore/paths/deep/", "uri_folder", "store/deep", "ro_mount"),
            (
                "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/workspaceblobstore/paths/deep",
                "uri_folder",
                "store/deep",
                "ro_mount",
            ),
            ("file:src", "uri_folder", "src", "ro_mount"),
            ("azureml:digits:2", "uri_folder", "src", "ro_mount"),
            ("azureml:digits@latest", "uri_folder", "images", "ro_mount"),
        ],
    )
    def test_data(self, step: Make, folder: Path, written: str, kind: str, path: str, mode: str) -> None:
        (folder / "store" / "deep").mkdir(parents=True)
        job = step(
            ("  limit: 3", f"  limit: 3\n  more: {written}"),
            data={"digits:2": DataAsset(path="src"), "digits:10": DataAsset(path="images")},
        )
        found = job.inputs["more"]
        assert (found.type, found.path, found.mode) == (kind, str(folder / path), mode)

    def test_the_split_input_may_be_a_plain_path(self, step: Make, folder: Path) -> None:
        job = step(("  images:\n    type: uri_folder\n    path: ./images", "  images: images"))
        assert job.inputs["images"].path == str(folder / "images")

    def test_a_table_read_as_a_folder_is_noticed(self, step: Make) -> None:
        assert "MLTable file in it" in step(("  limit: 3", "  limit: 3\n  more: ./table")).notices[0]

    def test_hostile_names(self, step: Make, folder: Path) -> None:
        name = 'it\'s "a" $folder #1: ünïcode\\'
        (folder / name).mkdir()
        written = "'" + f"./{name}".replace("'", "''") + "'"
        assert step(("path: ./images", f"path: {written}")).inputs["images"].path == str(folder / name)


class TestOutputs:
    @pytest.mark.parametrize(
        ("written", "kind", "path"),
        [
            ("{type: uri_file}", "uri_file", "store/azureml/job_1/more"),
            ("", "uri_folder", "store/azureml/job_1/more"),
            ("./made", "uri_folder", "made"),
            ("{type: mltable, path: ./made}", "mltable", "made"),
            ("'azureml://datastores/${{default_datastore}}/paths/${{name}}/${{output_name}}.txt'", "uri_folder", "store/job_1/more.txt"),
            ("{path: 'azureml://datastores/workspaceblobstore/paths/x/'}", "uri_folder", "store/x"),
        ],
    )
    def test_places(self, step: Make, folder: Path, written: str, kind: str, path: str) -> None:
        found = step(("input_data:", f"  more: {written}\ninput_data:")).outputs["more"]
        assert (found.type, found.path, found.mode) == (kind, str(folder / path), "rw_mount")

    def test_inside_the_split_input(self, step: Make) -> None:
        assert "lies inside the input 'images'" in step(("./out/rows.txt", "./images/rows.txt")).notices[0]

    def test_a_file_of_an_input_is_not_overwritten(self, step: Make, folder: Path) -> None:
        (folder / "link").symlink_to(folder / "images")
        for path in ("./images/a.png", "./link/a.png"):
            with pytest.raises(UserError, match=r"job.yml:\d+.*would overwrite .*a.png, a file of the input 'images'"):
                step(("./out/rows.txt", path))

    def test_an_existing_file_is_replaced_with_a_notice(self, step: Make, folder: Path) -> None:
        (folder / "out").mkdir()
        assert not step().notices
        (folder / "out" / "rows.txt").touch()
        assert step().notices == (f"{folder}/out/rows.txt exists and will be replaced when the job completes",)

    def test_registration(self, step: Make) -> None:
        found = step(("input_data:", "  more: {name: scored, version: 2, mode: upload}\ninput_data:")).outputs["more"]
        assert (found.name, found.version, found.mode) == ("scored", "2", "upload")


class TestTask:
    @pytest.mark.parametrize(
        "script",
        [
            "def run(b): pass",
            "def run(b, context=None): pass",
            "def run(*args): pass",
            "from other import *",
            "from other import score as run",
            "import run",
            "run = lambda b: b",
            "try:\n    from fast import run\nexcept ImportError:\n    def run(b): pass",
            "if True:\n    def run(b): pass",
            "run: object = print",
            "class Run: pass\na, run = 1, print",
            "@decorated\ndef run(): pass",
            "x = '\\d'\ndef run(b): pass",
        ],
    )
    def test_scripts_that_define_run(self, step: Make, folder: Path, script: str) -> None:
        (folder / "src" / "score.py").write_text(script)
        assert step().entry_script == "score.py"

    @pytest.mark.parametrize(
        "script", ["", "def main(): pass", "class A:\n    def run(self, b): pass", "def run(a, b, c): pass", "def run(b, *, k): pass"]
    )
    def test_scripts_without_it(self, step: Make, folder: Path, script: str) -> None:
        (folder / "src" / "score.py").write_text(script)
        with pytest.raises(UserError, match=r"score\.py"):
            step()

    def test_a_script_in_a_folder_of_the_code(self, step: Make, folder: Path) -> None:
        (folder / "src" / "deep").mkdir()
        (folder / "src" / "deep" / "s.py").write_text("def run(b): pass")
        assert step(("score.py", "./deep/s.py")).entry_script == "deep/s.py"

    def test_the_model(self, step: Make, folder: Path) -> None:
        assert step(("  code: ./src", "  code: ./src\n  model: ./table")).model == str(folder / "table")
        assert step(("  code: ./src", "  code: ./src\n  model: ${{inputs.images}}")).model == str(folder / "images")

    def test_environments(self, step: Make, folder: Path) -> None:
        def environment(written: str, **given: object) -> tuple[object, tuple[str, ...]]:
            job = step(("  code: ./src", f"  code: ./src\n  environment: {written}"), **given)
            return job.environment, job.notices

        found, notices = environment("{conda_file: ./conda.yml, image: 'python:3.11'}", local=True)
        assert found.conda == {"name": "x", "dependencies": ["python=3.10"]}  # type: ignore[attr-defined]
        assert found.conda_path == str(folder / "conda.yml")  # type: ignore[attr-defined]
        assert "the image 'python:3.11' is not used" in notices[0]
        found, _ = environment("{conda_file: {dependencies: [python, {pip: [x]}]}}")
        assert found.conda == {"dependencies": ["python", {"pip": ["x"]}]}  # type: ignore[attr-defined]
        known = {"sk:1": {"conda_file": "conda.yml"}, "sk:2": {"conda_file": "conda.yml"}}
        for written in ("azureml:sk:1", "azureml://registries/r/environments/sk/versions/1", "sk:1"):
            assert environment(written, environments=known)[0].version == "1"  # type: ignore[attr-defined]
        for written in ("azureml:sk@latest", "azureml:sk", "azureml://registries/r/environments/sk/labels/latest"):
            assert environment(written, environments=known)[0].version == "2"  # type: ignore[attr-defined]
        (folder / "env.yml").write_text("conda_file: ./conda.yml\nname: mine\n")
        assert environment("file:./env.yml")[0].name == "mine"  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=r"`environments.sk:1.imag`: unknown key 'imag'"):
            environment("azureml:sk:1", environments={"sk:1": {"imag": "x", "conda_file": "conda.yml"}})


class TestSettings:
    def test_everything_that_is_kept_is_said(self, step: Make, folder: Path) -> None:
        job = step(
            (
                "  instance_count: 1",
                (
                    "  instance_count: 1\n  max_instance_count: 2\n  properties: {a: 1}\n  locations: [x]\n"
                    "  shm_size: 1G\n  docker_args: -e 'A=b c'"
                ),
            ),
            (
                "logging_level: INFO",
                "logging_level: DEBUG\nidentity: {type: UserIdentity}\nservices: {a: {type: ssh}}\ncomment: hello\nid: x",
            ),
        )
        assert job.resources == Resources(
            max_instance_count=2, properties={"a": 1}, locations=("x",), shm_size="1G", docker_args=("-e", "A=b c"),
            docker_args_base=str(folder),
        )  # fmt: skip
        assert job.identity == {"type": "user_identity"}
        said = "\n".join(job.notices)
        for word in (
            "max_instance_count",
            "properties",
            "locations",
            "shm_size",
            "docker_args",
            "identity has no effect",
            "services",
            "comment",
            "id is what Azure",
        ):
            assert word in said

    def test_docker_args_in_both_forms(self, step: Make, folder: Path) -> None:
        """Mounts below a datastore's folder and below what the policy names are good; what has no effect is said."""
        (folder / "store").mkdir()
        for form in ("--rm -v ./store:/data --cpus 2", "[--rm, -v, ./store:/data, --cpus, 2]"):
            policy = DockerPolicy(data_roots=(str(folder / "store"),))
            job = step(("  instance_count: 1", f"  docker_args: {form}"), docker_policy=policy)
            assert job.resources.docker_args == ("--rm", "-v", "./store:/data", "--cpus", "2")
            assert "docker_args: --rm has no effect: containers are always removed" in job.notices

    def test_what_asks_for_more_than_this_build_does_is_said(self, step: Make) -> None:
        limit = "--limit ${{inputs.limit}}"
        job = step(
            (limit, "--copy_logs_to_parent True --metrics_name_prefix a --push_metrics_to_parent=True"),
            ("logging_level: INFO", "is_deterministic: true"),
        )
        for word in ("is_deterministic", "--copy_logs_to_parent", "--push_metrics_to_parent"):
            assert sum(word in notice and "no effect" in notice for notice in job.notices) == 1, word
        assert not [notice for notice in job.notices if "metrics_name_prefix" in notice]
        job = step(
            (limit, "--copy_logs_to_parent False --push_metrics_to_parent=false"), ("logging_level: INFO", "is_deterministic: false")
        )
        assert job.notices == ()

    def test_what_an_f_string_makes_of_an_expression_is_noticed(self, step: Make) -> None:
        job = step(("path: ./out/rows.txt", "path: ./${name}/rows.txt"))
        assert "'${name}' stays in its path as it is, it means nothing: write ${{name}}" in job.notices[0]
        assert not step(("path: ./out/rows.txt", "path: ./${{name}}/rows.txt")).notices

    def test_an_address_of_the_web_without_a_type_is_a_text(self, step: Make) -> None:
        job = step(("  limit: 3", "  limit: 3\n  url: https://acc.blob.core.windows.net/c/iris.csv"))
        assert (job.inputs["url"].type, job.inputs["url"].value) == ("string", "https://acc.blob.core.windows.net/c/iris.csv")
        assert not job.notices

    def test_an_environment_that_is_not_known_does_not_matter_to_an_interpreter_of_ones_own(self, step: Make) -> None:
        curated = ("  code: ./src", "  code: ./src\n  environment: azureml://registries/azureml/environments/sklearn-1.5/labels/latest")
        job = step(curated, local=True, python=True)
        assert job.environment is None
        assert "is not known here, and not used: --python names the interpreter" in job.notices[0]
        for given in ({"local": True}, {"python": True}):
            with pytest.raises(
                UserError, match=r'environments: \{sklearn-1.5: \{"1": \{conda_file: conda.yml\}\}\}.*--local --python PATH'
            ):
                step(curated, **given)

    def test_a_name_like_that_of_another_environment_is_a_guess_only(self, step: Make) -> None:
        known = {"sklearn-1.0:1": {"conda_file": "conda.yml"}}
        with pytest.raises(UserError, match=r"did you mean 'sklearn-1.0'\? Else describe it in workspace.yml"):
            step(("  code: ./src", "  code: ./src\n  environment: azureml:sklearn-1.5@latest"), environments=known)

    def test_the_name_of_an_output_is_said_to_register_nothing(self, step: Make) -> None:
        job = step(("path: ./out/rows.txt", "path: ./out/rows.txt\n    name: scores\n    version: 3"))
        assert [notice for notice in job.notices if "registers no data assets" in notice]

    def test_keywords_of_resources_may_stand_on_top(self, step: Make) -> None:
        job = step(("resources:\n  instance_count: 1", "instance_count: 2\ninstance_type: [a, b]\nshm_size: 1g"), local=True)
        assert job.resources == Resources(instance_count=2, instance_type=("a", "b"), shm_size="1g")

    def test_environment_variables_as_yaml_writes_them(self, step: Make) -> None:
        job = step(("  COLOUR: green", "  A: true\n  B: 1.10\n  C: 3\n  D: ${{inputs.limit}}\n  E:\n  F: 'no'"))
        assert job.environment_variables == {"A": "true", "B": "1.10", "C": "3", "D": "3", "E": "", "F": "no"}

    def test_partition_keys_win(self, step: Make) -> None:
        job = step(("logging_level: INFO", "partition_keys: [user, 2020]"))
        assert job.partition_keys == ("user", "2020")
        assert "partition_keys win" in job.notices[0]

    @pytest.mark.parametrize("written", ["local", "azureml:local", "azureml:serverless", "serverless"])
    def test_computes(self, step: Make, written: str) -> None:
        assert step(("logging_level: INFO", f"compute: {written}")).compute == "local"

    def test_local_overrides_any_compute(self, step: Make) -> None:
        job = step(("logging_level: INFO", "compute: azureml:gpu"), local=True)
        assert job.compute == "local"
        assert "compute 'gpu' is not used" in job.notices[0]

    def test_other_known_computes(self, step: Make) -> None:
        assert step(("logging_level: INFO", "compute: azureml:gpu"), computes=("local", "gpu")).compute == "gpu"

    def test_words_about_the_job(self, step: Make) -> None:
        job = step(
            (
                "display_name: score images",
                "display_name: d ${{name}}\ndescription: x\ntags: {a: 1.10, b: true}\nproperties: {p: q}\nexperiment_name: e",
            )
        )
        assert (job.display_name, job.description, job.experiment_name) == ("d job_1", "x", "e")
        assert (job.tags, job.properties) == ({"a": "1.10", "b": "true"}, {"p": "q"})

    def test_overrides(self, step: Make) -> None:
        assert step(overrides=("inputs.limit=9", "retry_settings.timeout=5")).retry.timeout == 5


def test_all_mistakes_in_one_go(step: Make) -> None:
    with pytest.raises(UserErrors) as caught:
        step(
            ("mini_batch_size: 2", "mini_batch_size: 0"),
            ("  timeout: 30", "  timeout: x"),
            ("./src", "./nope"),
            ("logging_level", "loging_level"),
        )
    assert [error.place.line for error in caught.value.errors if error.place] == [14, 18, 21, 28]


def test_a_broken_input_causes_no_further_errors(step: Make) -> None:
    with pytest.raises(UserError) as caught:
        step(("path: ./images", "path: ./nope"), ("--limit ${{inputs.limit}}", "--in ${{inputs.images}}"))
    assert not isinstance(caught.value, UserErrors)


def test_what_azure_has_and_this_build_lacks_is_told_apart(step: Make) -> None:
    with pytest.raises(NotSupportedHere):
        step(("path: ./images", "path: https://example.com/x"))


class TestPython:
    def test_typed_values(self, from_mapping: Make) -> None:
        job = from_mapping(
            {**MINIMAL, "mini_batch_size": 5, "retry_settings": {"timeout": 2.5, "max_retries": "1"}, "partition_keys": ("a",)}
        )
        assert (job.mini_batch_size, job.retry, job.partition_keys) == (5, RetrySettings(max_retries=1, timeout=2.5), ("a",))

    def test_none_is_unset(self, from_mapping: Make) -> None:
        assert from_mapping({**MINIMAL, "mini_batch_size": None, "retry_settings": None, "outputs": None}) == from_mapping(MINIMAL)

    def test_errors_name_the_field(self, from_mapping: Make) -> None:
        with pytest.raises(UserError, match=r"^`retry_settings.timeout`: 0 is out of range"):
            from_mapping({**MINIMAL, "retry_settings": {"timeout": 0}})

    def test_a_job_must_be_a_mapping(self) -> None:
        from runner.spec.load import job_from_mapping

        with pytest.raises(UserError, match="not list"):
            job_from_mapping([], Path())  # type: ignore[arg-type]


class TestStored:
    def test_round_trip(self, step: Make) -> None:
        import json

        job = step(
            ("  code: ./src", "  code: ./src\n  environment: {conda_file: ./conda.yml}"),
            ("  instance_count: 1", "  instance_count: 1\n  properties: {a: {b: [1, null, 2.5]}}\n  instance_type: x"),
            ("logging_level: INFO", "identity: {type: managed, client_id: x}"),
            local=True,
        )
        assert stored.load(json.loads(json.dumps(stored.dump(job)))) == job

    def test_fields_of_a_later_version_are_left_out(self, step: Make) -> None:
        data = stored.dump(step())
        assert stored.load({**data, "of_a_later_version": 1}) == step()

    @pytest.mark.parametrize("data", [{}, {"type": "x"}, {"type": "parallel"}, {"type": "parallel", "name": "x", "inputs": 3}])
    def test_damaged(self, data: dict[str, object]) -> None:
        with pytest.raises(UserError, match="stored job"):
            stored.load(data)


def test_importing_is_cheap() -> None:
    code = "import sys, runner.spec.load, runner.spec.resolve, runner.spec.stored; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "pyarrow", "pandas", "numpy", "rich", "typer", "azure"} & set(loaded)


class TestWhereOutputsCannotBe:
    @pytest.mark.parametrize("path", ["/proc/rows.txt", "/sys/a/b/rows.txt"])
    def test_below_the_kernels_folders(self, step: Make, path: str) -> None:
        with pytest.raises(UserError, match=r"cannot be made: /(proc|sys)"):
            step(("./out/rows.txt", path))

    def test_a_store_that_is_no_folder(self, step: Make, folder: Path) -> None:
        (folder / "store").touch()
        with pytest.raises(UserError, match="store is a file"):
            step(("    path: ./out/rows.txt\n", ""))

    def test_a_folder_without_permission(self, step: Make, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda path, _mode: str(path) != str(folder))
        with pytest.raises(UserError, match="no permission to write in"):
            step()


def test_from_python_the_advice_is_one_for_python(from_mapping: Callable[..., object]) -> None:
    for change in ({"compute": "gpus"}, {"resources": {"instance_type": "STANDARD_D2"}}):
        with pytest.raises(UserError, match=r"\(in Python: local=True\)"):
            from_mapping({**MINIMAL, **change})


def test_sizes_are_told_in_words(step: Make) -> None:
    with pytest.raises(UserError, match=r"a whole number of files, or of bytes for tables: 10, 100kb, 1 MB \(\^"):
        step(("mini_batch_size: 2", "mini_batch_size: 2 parsecs"))
