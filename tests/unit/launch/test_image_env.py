"""Conda files in images, as plans: which way, what hash, what is told to the container, what the image is configured to."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from runner.errors import UserError
from runner.launch.image_env import PREFIX, Recipe, advice, conda_command, image_config, plan, write_recipe
from runner.launch.image_files import Staging
from runner.launch.image_pip import fits, pip_wheel
from runner.launch.image_probe import ImageFacts
from runner.launch.image_record import Image
from runner.launch.image_way import Way, choose_way
from runner.launch.network import install_environment, network_environment
from runner.model.docker import DockerSettings
from runner.model.job import Environment

FACTS = ImageFacts(command=("python3",), version=(3, 11, 2))
TOOLS = {"conda": "/opt/conda/bin/conda", "micromamba": "/bin/micromamba"}


def environment(*dependencies: object, path: str | None = None, **more: object) -> Environment:
    return Environment(image="registry.example/base:1", conda={"dependencies": list(dependencies), **more}, conda_path=path)


def way(*dependencies: object, facts: ImageFacts = FACTS, **more: object) -> Way:
    return choose_way(environment(*dependencies, **more), facts, "registry.example/base:1")


# Which way


def test_pip_is_enough_for_python_and_its_packages_even_where_there_is_a_conda():
    found = way("python=3.11", "numpy=1.26", {"pip": ["pandas"]}, facts=replace(FACTS, tools=TOOLS))
    assert found.maker == "pip"
    assert found.needs.requirements == ("numpy==1.26.*", "pandas")


def test_conda_is_used_for_what_pip_has_not_and_for_another_python():
    facts = replace(FACTS, tools=TOOLS)
    for dependencies in (("cudatoolkit=11.1", {"pip": ["pandas"]}), ("python=3.8", {"pip": ["pandas"]})):
        found = way(*dependencies, facts=facts, name="left-out", channels=["main"])
        assert found.tool == "/bin/micromamba"
        assert found.needs.requirements == ("pandas",)
        assert found.conda == {"dependencies": list(dependencies), "channels": ["main"]}


def test_another_micro_version_will_do():
    found = way("python=3.11.7")
    assert found.notices[-1] == "conda file: python==3.11.7.* is not in the image; taken is its 3.11.2"


def test_without_a_conda_the_error_names_the_packages():
    with pytest.raises(UserError) as caught:
        way("cudatoolkit=11.1", "numpy", "ffmpeg")
    assert "conda package `cudatoolkit=11.1`; conda package `ffmpeg`" in caught.value.problem
    assert "registry.example/base:1" in caught.value.problem
    assert "`build`" in caught.value.todo


def test_mistakes_stay_mistakes_where_there_is_a_conda():
    with pytest.raises(UserError, match="no version"):
        way("numpy=1 2 3 4", facts=replace(FACTS, tools=TOOLS))


def test_an_image_without_python_says_what_it_has():
    with pytest.raises(UserError, match=r"has no Python 3\.7 or newer on its PATH \(found: python 2\.7\.18\)"):
        ImageFacts(seen=("python 2.7.18",)).python("registry.example/base:1")


# The hash


def recipe(folder, *dependencies, facts=FACTS, base="sha256:1", path=None, **more) -> Recipe:
    folder.mkdir(exist_ok=True)
    inside = folder / f"in{len(list(folder.iterdir()))}"
    inside.mkdir()
    made = environment(*dependencies, path=path, **more)
    return write_recipe(inside, base, choose_way(made, facts, "x"), path)


def test_equal_needs_on_an_equal_base_are_one_image(tmp_path):
    first = recipe(tmp_path / "a", "numpy", "scipy", {"pip": ["pandas"]}).content_hash
    assert recipe(tmp_path / "a", "scipy", "numpy", {"pip": [" pandas "]}, name="other").content_hash == first
    others = [
        recipe(tmp_path / "a", "numpy", "scipy", {"pip": ["pandas"]}, base="sha256:2"),
        recipe(tmp_path / "a", "numpy", {"pip": ["pandas"]}),
        recipe(tmp_path / "a", "numpy", "scipy", {"pip": ["pandas<3"]}),
        recipe(tmp_path / "a", "numpy", "scipy", "ffmpeg", {"pip": ["pandas"]}, facts=replace(FACTS, tools=TOOLS)),
    ]
    assert len({first, *(one.content_hash for one in others)}) == 5


def test_local_files_count_by_content_and_not_by_place(tmp_path):
    hashes = []
    for name, text in (("one", "pandas"), ("two", "pandas"), ("three", "numpy")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "more.txt").write_text(f"{text}\n")
        hashes.append(recipe(tmp_path / "a", {"pip": ["-r more.txt"]}, path=str(tmp_path / name / "conda.yml")).content_hash)
    assert hashes[0] == hashes[1] != hashes[2]


# Local files


def test_files_are_copied_with_what_they_name_in_turn(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "files"
    package = source / "package"
    (package / ".git").mkdir(parents=True)
    (package / "build").mkdir()
    (package / "setup.py").write_text("setup")
    (source / "wheels").mkdir()
    (source / "more.txt").write_text(f"-c limits.txt\n# comment\n./two words\n-e {package}\nnumpy\n-f wheels\n")
    (source / "limits.txt").write_text("numpy<3\n")
    staging = Staging(folder, "/opt/work")
    assert staging.line("-r more.txt", str(source / "conda.yml")) == "-r /opt/work/0/more.txt"
    assert (folder / "0" / "more.txt").read_text().splitlines() == [
        "-c /opt/work/1/limits.txt",
        "# comment",
        "./two words",  # two words: pip reads it, and not we
        "/opt/work/2/package",
        "numpy",
        "-f /opt/work/3/wheels",
    ]
    assert sorted(path.name for path in (folder / "2" / "package").iterdir()) == ["setup.py"]
    assert staging.line("-r more.txt", str(source / "conda.yml")) == "-r /opt/work/0/more.txt", "copied once"
    assert staging.line("--index-url https://registry.example/simple", "/x") == "--index-url https://registry.example/simple"
    with pytest.raises(UserError, match="there is no"):
        staging.line("-r missing.txt", str(source / "conda.yml"))


# What the container is told


def test_the_plan_of_pip_has_the_network_and_no_secret_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:t0ken@registry.example/simple")
    settings = DockerSettings(proxy={"http_proxy": "http://proxy.example"}, ca_bundle="/etc/bundle.pem")
    told = plan(way("numpy"), FACTS, settings, tmp_path)
    variables = told["environment"]
    assert isinstance(variables, dict)
    assert variables["HTTP_PROXY"] == variables["http_proxy"] == "http://proxy.example"
    assert variables["PIP_CERT"] == variables["SSL_CERT_FILE"] == "/runner-in/ca.pem"
    assert variables["PIP_INDEX_URL"].endswith("/simple")
    assert told["requirements"] == "/runner-in/requirements.txt"
    assert "t0ken" not in json.dumps({key: value for key, value in told.items() if key != "environment"})
    assert plan(way("python=3.11"), FACTS, settings, tmp_path)["requirements"] is None


def test_the_plan_of_conda(tmp_path):
    facts = replace(FACTS, tools=TOOLS)
    chosen = way("ffmpeg", {"pip": ["pandas"]}, facts=facts, channels=["main"], name="x", variables={"A": 1})
    told = plan(chosen, facts, DockerSettings(), tmp_path)
    assert told["conda"] == ["/bin/micromamba", "create", "-y", "-p", PREFIX, "-f", "/runner-in/environment.yml"]
    assert conda_command("/opt/conda/bin/mamba")[:4] == ["/opt/conda/bin/mamba", "env", "create", "-p"]
    write_recipe(tmp_path, "sha256:1", chosen, None)
    assert yaml.safe_load((tmp_path / "environment.yml").read_text()) == {
        "channels": ["main"],
        "dependencies": ["ffmpeg", {"pip": ["pandas"]}],
    }


def test_the_image_keeps_the_configuration_of_its_base():
    config = {"Env": ["PATH=/usr/bin", "A=b=c"], "User": "1234", "Entrypoint": ["/start"], "WorkingDir": "/home"}
    base = Image(id="sha256:1", labels={"mine": "1"}, config=config)
    chosen = way("numpy")
    made = image_config(base, Recipe(base=base.id, way=chosen, lines=(), files=""))
    assert made["Env"] == [f"PATH={PREFIX}/bin:/usr/bin", "A=b=c", f"VIRTUAL_ENV={PREFIX}"]
    assert (made["User"], made["Entrypoint"], made["WorkingDir"]) == ("1234", ["/start"], "/home")
    assert made["Labels"]["mine"] == "1"
    assert len(made["Labels"]["runner.image"]) == 20
    assert config["Env"] == ["PATH=/usr/bin", "A=b=c"]


def test_pip_comes_along_where_it_fits():
    wheel = pip_wheel((3, 11, 2))
    assert wheel is None or (wheel.name.startswith("pip-") and fits(wheel, (3, 11, 2)) and not fits(wheel, (3, 6, 15)))


def test_advice():
    needs = way("numpy").needs
    assert "python3-minimal" in advice(needs, "making a virtual environment")
    assert "--python" not in advice(needs, "pip install")
    assert "`build`" in advice(needs, "mamba")


# The network


def test_one_setting_in_the_variables_that_programs_read():
    assert network_environment(DockerSettings()) == {}
    made = network_environment(DockerSettings(proxy={"no_proxy": "localhost"}, ca_bundle="/x.pem"), "/in/ca.pem")
    assert made["no_proxy"] == made["NO_PROXY"] == "localhost"
    assert made["REQUESTS_CA_BUNDLE"] == made["CONDA_SSL_VERIFY"] == "/in/ca.pem"
    own = {"PIP_INDEX_URL": "https://registry.example/simple", "PIP_CERT": "/host.pem", "HOME": "/root"}
    assert install_environment(DockerSettings(), "/in/ca.pem", own) == {"PIP_INDEX_URL": "https://registry.example/simple"}
