"""The table of bad job files."""

from __future__ import annotations

from tests.acceptance.bad_jobs.commands import COMMANDS, TYPES
from tests.acceptance.bad_jobs.files import KEYS, PORTS, SYNTAX
from tests.acceptance.bad_jobs.inner_pipelines import INNER_PIPELINES
from tests.acceptance.bad_jobs.pipelines import PIPELINES
from tests.acceptance.bad_jobs.row import BadJob
from tests.acceptance.bad_jobs.settings import ARGUMENTS, EXPRESSIONS, OVERRIDES, SETTINGS, TASK

BAD_JOBS: tuple[BadJob, ...] = (
    *SYNTAX,
    *KEYS,
    *PORTS,
    *SETTINGS,
    *TASK,
    *ARGUMENTS,
    *EXPRESSIONS,
    *OVERRIDES,
    *PIPELINES,
    *COMMANDS,
    *TYPES,
    *INNER_PIPELINES,
)
