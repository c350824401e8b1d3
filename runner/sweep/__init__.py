"""Sweeps: the names of `azure.ai.ml.sweep`, none of which is here; each says so when it is used."""

from __future__ import annotations

from runner.sdk.lazy import attributes

__all__: list[str] = []

_ABSENT = """
    BanditPolicy BayesianSamplingAlgorithm Choice GridSamplingAlgorithm LogNormal LogUniform MedianStoppingPolicy Normal Objective
    QLogNormal QLogUniform QNormal QUniform Randint RandomSamplingAlgorithm SamplingAlgorithm SweepJob SweepJobLimits
    TruncationSelectionPolicy Uniform
"""

__getattr__, __dir__ = attributes(__name__, {}, _ABSENT)
