"""Parallel jobs in Python, with the names of `azure.ai.ml.parallel`."""

from __future__ import annotations

from runner.sdk.node import Parallel
from runner.sdk.parallel_job import ParallelJob
from runner.sdk.run_function import parallel_run_function
from runner.sdk.task import RunFunction

__all__ = ["Parallel", "ParallelJob", "RunFunction", "parallel_run_function"]
