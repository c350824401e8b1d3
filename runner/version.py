"""The version of the runner: that of the installed package, and what client, coordinator and instances compare."""

from __future__ import annotations

VERSION = "0.1.0"
