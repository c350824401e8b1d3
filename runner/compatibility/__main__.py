"""`python -m runner.compatibility`: writes docs/azure-compatibility.md anew."""

from __future__ import annotations

from pathlib import Path

from runner.compatibility.page import render

if __name__ == "__main__":
    Path("docs/azure-compatibility.md").write_text(render(), encoding="utf-8")
