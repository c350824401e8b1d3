"""Conda files in pip's words, the choice of an interpreter, and the cache of environments; nothing is installed."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import UserError, UserErrors
from runner.launch import python_env, pythons
from runner.launch.conda_file import CondaNeeds, read_conda
from runner.launch.conda_names import LEFT_OUT, PYPI_NAMES, REFUSED
from runner.model.job import Environment


def packages(*entries: object, path: str | None = None) -> tuple[str, ...]:
    return read_conda({"dependencies": list(entries)}, path).requirements


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy==1.26.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy==1.26.4", "numpy==1.26.4"),
        ("numpy 1.26.4", "numpy==1.26.4"),
        ("numpy =1.26", "numpy==1.26.*"),
        ("numpy>=1.20", "numpy>=1.20"),
        ("numpy >=1.20, <2", "numpy>=1.20,<2"),
        ("numpy>=1.20.*", "numpy>=1.20"),
        ("numpy!=1.21", "numpy!=1.21"),
        ("numpy~=1.21", "numpy~=1.21"),
        ("numpy=1.*", "numpy==1.*"),
        ("numpy=*", "numpy"),
        ("numpy 1.26*", "numpy==1.26.*"),
        ("numpy=1.26.4=py38h54aff64_0", "numpy==1.26.4"),
        ("numpy==1.26.4=py38h54aff64_0", "numpy==1.26.4"),
        ("numpy 1.26.4 py38_0", "numpy==1.26.4"),
        ("numpy[version='>=1.20,<2']", "numpy>=1.20,<2"),
        ("conda-forge::numpy=1.26", "numpy==1.26.*"),
        ("Ruamel_Yaml=0.17", "ruamel-yaml==0.17.*"),
        ("pytorch=2.1", "torch==2.1.*"),
        ("pytorch::pytorch=2.1=*cuda*", "torch==2.1"),
        ("opencv", "opencv-python-headless"),
        ("py-xgboost=1.7", "xgboost==1.7.*"),
        ("dask>=2023", "dask[complete]>=2023"),
        ("matplotlib-base", "matplotlib"),
        ("azureml-defaults=1.50", "azureml-defaults==1.50.*"),
        ("librosa", "librosa"),
    ],
)
def test_conda_packages_in_pips_words(entry, line):
    assert packages(entry) == (line,)


@pytest.mark.parametrize(
    "name", ["cudatoolkit", "pytorch-cuda=11.8", "gcc_linux-64", "ffmpeg=4", "r-base", "r-dplyr", "libsndfile", "cudf"]
)
def test_what_pypi_lacks_is_refused_by_name_with_what_to_do(name):
    with pytest.raises(UserError) as caught:
        read_conda({"dependencies": ["numpy", name]}, "/somewhere/conda.yml")
    assert name in caught.value.problem
    assert "/somewhere/conda.yml" in str(caught.value)
    assert caught.value.todo


@pytest.mark.parametrize("entry", ["numpy>=1.8|1.7", "numpy>>1", "=1.2", "dask[complete]", {"conda": []}, 3])
def test_broken_dependencies_are_errors(entry):
    with pytest.raises(UserError):
        packages(entry)


def test_all_mistakes_are_shown_at_once():
    with pytest.raises(UserErrors) as caught:
        packages("ffmpeg", "gcc", "numpy")
    assert len(caught.value.errors) == 2


def test_nothing_is_left_out_in_silence():
    conda = {
        "name": "env",
        "channels": ["conda-forge", "defaults"],
        "variables": {"A": 1},
        "dependencies": ["pip=20.1", "pip", "openssl=1.1.1", "numpy=1.26.4=py38_0"],
        "extra": 1,
    }
    notices = read_conda(conda, None).notices
    for word in ("conda-forge", "variables", "pip=20.1", "openssl=1.1.1", "py38_0", "`extra`"):
        assert sum(word in notice for notice in notices) == 1, word
    assert len(notices) == 6


def test_tables_do_not_contradict_each_other():
    assert not LEFT_OUT & set(REFUSED) | LEFT_OUT & set(PYPI_NAMES) | set(REFUSED) & set(PYPI_NAMES)
    for name in (*LEFT_OUT, *REFUSED, *PYPI_NAMES):
        assert name == name.lower()
        assert "_" not in name


def test_pip_lines_pass_as_they_are(tmp_path):
    lines = [
        "--index-url https://pypi.example/simple",
        "requests[socks]==2.*; python_version>'3.6'",
        "git+https://x.example/y.git@main",
        "$(touch x)",
    ]
    assert packages("pip", {"pip": lines}, path=str(tmp_path / "conda.yml")) == tuple(lines)


def test_files_of_pip_lines_stand_relative_to_the_conda_file(tmp_path):
    (tmp_path / "more here.txt").write_text("six\n")
    (tmp_path / "mine").mkdir()
    needs = read_conda(
        {"dependencies": [{"pip": ["-r 'more here.txt'", "--requirement='more here.txt'", "./mine[x]", "-e ./mine"]}]},
        str(tmp_path / "c.yml"),
    )
    assert needs.pip == (
        f"-r '{tmp_path}/more here.txt'",
        f"--requirement '{tmp_path}/more here.txt'",
        f"{tmp_path}/mine[x]",
        f"-e {tmp_path}/mine",
    )
    assert set(needs.files) == {f"{tmp_path}/more here.txt", f"{tmp_path}/mine"}


def test_missing_files_of_pip_lines_are_errors(tmp_path):
    with pytest.raises(UserError, match=r"there is no .*absent\.txt"):
        packages({"pip": ["-r absent.txt"]}, path=str(tmp_path / "c.yml"))
    with pytest.raises(UserError, match="relative to no folder"):
        packages({"pip": ["-r absent.txt"]})


@pytest.mark.parametrize(
    ("clauses", "version", "fits"),
    [
        ("==3.8.*", (3, 8, 18), True),
        ("==3.8", (3, 8, 18), True),
        ("==3.8.*", (3, 9, 0), False),
        ("==3.8.5", (3, 8, 18), False),
        (">=3.8,<3.11", (3, 10, 13), True),
        (">=3.8,<3.11", (3, 11, 0), False),
        ("<=3.10", (3, 10, 0), True),
        ("<=3.10", (3, 10, 1), False),
        (">3.8", (3, 8, 1), True),
        ("~=3.8", (3, 12, 0), True),
        ("~=3.8.2", (3, 9, 0), False),
        ("!=3.9.*", (3, 9, 7), False),
    ],
)
def test_versions_of_python(clauses, version, fits):
    assert pythons.satisfies(version, clauses) is fits


def test_a_python_is_found_on_the_path_and_broken_ones_are_passed_over(tmp_path, monkeypatch):
    broken, good = tmp_path / "broken", tmp_path / "good"
    for folder, script in ((broken, "#!/bin/sh\nexit 127\n"), (good, "#!/bin/sh\necho 3.9.4\n")):
        folder.mkdir()
        (folder / "python3.9").write_text(script)
        (folder / "python3.9").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}:{good}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    monkeypatch.setattr(pythons, "running", lambda: pythons.Interpreter(path="/own", version=(3, 12, 1)))
    assert pythons.choose("==3.9.*") == pythons.Interpreter(path=str(good / "python3.9"), version=(3, 9, 4))
    assert pythons.choose("==3.9.7").version == (3, 9, 4)
    assert pythons.choose(">=3.9").path == "/own"
    with pytest.raises(UserError) as caught:
        pythons.choose("==3.10.*")
    assert str(good / "python3.9") in caught.value.allowed
    assert "3.12.1 (/own)" in caught.value.allowed
    assert "--python" in caught.value.todo
    with pytest.raises(UserError, match="too old"):
        pythons.choose("==3.6.*")


def test_a_python_that_is_not_there_is_told_with_the_conda_file(tmp_path):
    conda = {"dependencies": ["python=3.6"]}
    for path, place in (("/jobs/conda.yml", "/jobs/conda.yml: the conda file"), (None, "`task.environment.conda_file`: the conda file")):
        with pytest.raises(UserError, match=f"^{place} asks for python==3.6"):
            python_env.describe_python(Environment(conda=conda, conda_path=path), cache=tmp_path, override=None)


def test_without_an_environment_the_running_interpreter_is_taken(tmp_path):
    for environment in (None, Environment(image="image:1")):
        assert python_env.find_python(environment, cache=tmp_path, override=None, say=pytest.fail) == sys.executable


def test_the_named_interpreter_wins(tmp_path, monkeypatch):
    environment = Environment(conda={"dependencies": ["ffmpeg"]})
    assert python_env.find_python(environment, cache=tmp_path, override=sys.executable, say=pytest.fail) == sys.executable
    with pytest.raises(UserError, match="no Python that runs"):
        python_env.find_python(environment, cache=tmp_path, override=str(tmp_path / "absent"), say=pytest.fail)
    old = tmp_path / "python3.6"
    old.write_text("#!/bin/sh\necho 3.6.15\n")
    old.chmod(0o755)
    with pytest.raises(UserError, match="too old"):
        python_env.find_python(None, cache=tmp_path, override=str(old), say=pytest.fail)


def test_the_plan_says_which_python_without_making_anything(tmp_path):
    def describe(*dependencies: object) -> tuple[str, tuple[str, ...]]:
        return python_env.describe_python(Environment(conda={"dependencies": list(dependencies)}), cache=tmp_path, override=None)

    own = "{}.{}".format(*sys.version_info[:2])
    line, notices = describe(f"python={own}", "six", "attrs")
    assert sys.executable in line
    assert "to be made, with 2 requirements" in line
    assert notices == ()
    _, notices = describe(f"python={own}.99")
    assert len(notices) == 1
    assert f"python=={own}.99.* is not on this machine" in notices[0]
    with pytest.raises(UserError):
        describe("ffmpeg")
    assert list(tmp_path.iterdir()) == []


def test_the_hash_goes_by_content(tmp_path):
    def digest(version=(3, 8, 1), **fields):
        return python_env.content_hash(CondaNeeds(**fields), version)

    assert digest(packages=("a", "b")) == digest(packages=("b", "a"))
    assert digest(pip=("a  ==1",)) == digest(pip=("a ==1",))
    assert len({digest(packages=("a",)), digest(pip=("a",)), digest(packages=("a==1",)), digest(version=(3, 8, 2), packages=("a",))}) == 4
    outer, inner = tmp_path / "outer.txt", tmp_path / "inner.txt"
    outer.write_text("-r inner.txt\n")
    inner.write_text("six\n")
    first = digest(files=(str(outer),))
    inner.write_text("attrs\n")
    assert digest(files=(str(outer),)) != first


def fake_build(folder: Path, *_rest: object) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)


def test_an_aborted_build_is_made_again_and_a_whole_one_is_used(tmp_path, monkeypatch):
    environment = Environment(conda={"dependencies": ["six"]})
    built: list[Path] = []

    def build(folder, *rest):
        assert not folder.exists()
        built.append(folder)
        fake_build(folder)
        if len(built) == 1:
            raise UserError("pip install failed")

    monkeypatch.setattr(python_env, "build", build)
    with pytest.raises(UserError):
        python_env.find_python(environment, cache=tmp_path, override=None, say=lambda _text: None)
    found = [python_env.find_python(environment, cache=tmp_path, override=None, say=lambda _text: None) for _ in range(2)]
    assert len(built) == 2
    assert found == [str(built[0] / "bin" / "python")] * 2


def test_who_comes_second_waits_and_takes_what_the_first_has_built(tmp_path, monkeypatch):
    environment = Environment(conda={"dependencies": ["six"]})
    monkeypatch.setattr(python_env, "build", lambda *_rest: pytest.fail("built twice"))
    folder = tmp_path / "environments" / python_env.content_hash(CondaNeeds(packages=("six",)), sys.version_info[:3])
    folder.parent.mkdir()
    lock = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waits = threading.Event()
    found: list[str] = []
    second = threading.Thread(
        target=lambda: found.append(python_env.find_python(environment, cache=tmp_path, override=None, say=lambda _text: waits.set()))
    )
    second.start()
    assert waits.wait(20)
    fake_build(folder)
    (folder / "complete").write_text("{}")
    os.close(lock)
    second.join(20)
    assert found == [str(folder / "bin" / "python")]


def test_a_failing_command_shows_its_last_lines(tmp_path):
    said: list[str] = []
    script = "for i in range(30): print('line', i)\nraise SystemExit(3)"
    with pytest.raises(UserError) as caught:
        python_env.run(
            [sys.executable, "-c", script], "pip install", "mend it", tmp_path, os.open(tmp_path, os.O_RDONLY), said.append, lambda _: None
        )
    assert "exit status 3" in caught.value.problem
    assert "line 29" in caught.value.problem
    assert "line 14\n" not in caught.value.problem
    assert len(said) == 30


def test_a_cancelled_build_is_stopped(tmp_path):
    stops = []
    script = "import time; print('here', flush=True); time.sleep(60)"
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(UserError, match="-9"):
        python_env.run([sys.executable, "-c", script], "pip", "", tmp_path, descriptor, lambda _line: stops[0](), stops.append)
    os.close(descriptor)
