"""Pipelines in Python, with the names of `azure.ai.ml.dsl`."""

from __future__ import annotations

from runner.sdk.group import group
from runner.sdk.pipeline_function import pipeline

__all__ = ["group", "pipeline"]
