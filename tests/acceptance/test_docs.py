"""Links of the documentation lead somewhere, and its commands do what it says.

A block of commands is run when a comment stands before it:

    <!-- run -->                 each of its lines that begin with `$ ` ends with exit status 0
    <!-- run: exit status 2 -->  … with this one
    <!-- run: image -->          … where there is a Docker engine; the image that they name is one with pandas

The blocks of one page run in their order, in a workspace that has a copy of `examples/` and its data, without a shell.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azurite import KEY

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = "registry.example/scorer:1"
BLOCK = re.compile(r"^<!-- run(?:: exit status (\d+)|: image)? -->\n+```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECONDS = 180
SHIM = """#!{python}
import sys
sys.path.insert(0, {root!r})
sys.argv[0] = "runner"
from runner.cli.__main__ import main
sys.exit(main())
"""


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[tuple[list[str], int]]:
    for status, block in BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            if line.startswith("$ "):
                yield shlex.split(line[2:]), int(status or 0)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, their data, and the command."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("data", ".runner", "__pycache__"))
    for name in ("digits", "iris"):
        subprocess.run([sys.executable, f"examples/{name}/train.py", f"examples/data/{name}"], cwd=folder, check=True, timeout=SECONDS)
    (folder / "bin").mkdir()
    (folder / "bin" / "runner").write_text(SHIM.format(python=sys.executable, root=str(ROOT)))
    (folder / "bin" / "runner").chmod(0o755)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    broken = []
    for link in (first or second for first, second in LINK.findall(without_code(page.read_text()))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_do_what_the_page_says(page, examples, tmp_path, request, needs):
    if "<!-- run: image -->" in page.read_text():
        needs("docker")
        subprocess.run(["docker", "tag", request.getfixturevalue("test_image")("pandas"), IMAGE], check=True)
    workspace = tmp_path / "workspace"
    shutil.copytree(examples, workspace)
    environment = {**os.environ, "PATH": f"{workspace / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("RUNNER_WORKSPACE", None)
    for words, status in commands(page):
        done = subprocess.run(words, cwd=workspace, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == status, f"$ {shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"$ {shlex.join(words)}\n{done.stderr}"


def test_the_readme_is_about_as_long_as_a_readme_should_be():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 140


def test_the_emulators_key_is_the_one_that_it_has():
    assert f"account_key: {KEY}\n" in (ROOT / "docs" / "storage.md").read_text()
