"""What may be imported where, as far as `.importlinter` cannot say it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "runner" / "worker"
# What a user's interpreter may have, and is asked for only where a script needs it.
OPTIONAL = {"pandas", "pyarrow", "numpy", "mlflow"}
HEAVY = {"ray", "docker", "pyarrow", "pandas", "numpy", "azure", "pydantic", "rich", "typer", "yaml"}


def imported(file: Path) -> set[str]:
    """First parts of the names of all modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("file", sorted(WORKER.rglob("*.py")), ids=lambda file: str(file.relative_to(WORKER)))
def test_the_worker_needs_the_standard_library_only(file):
    own = {path.stem for path in WORKER.rglob("*.py")} | {path.name for path in WORKER.rglob("*") if path.is_dir()}
    assert imported(file) - set(sys.stdlib_module_names) - own - OPTIONAL == set()


def test_import_runner_loads_nothing_heavy():
    code = "import sys, runner; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_a_local_job_does_not_pay_for_http():
    code = "import sys, runner.client, runner.cli.job; print(*{'ssl', 'http.client', 'runner.remote'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
