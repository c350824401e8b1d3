"""Model customization: the names of `azure.ai.ml.model_customization`, none of which is here; each says so when it is used."""

from __future__ import annotations

from runner.sdk.lazy import attributes

__all__: list[str] = []

_ABSENT = """
    EndpointRequestSettings PromptSettings TeacherModelSettings distillation
"""

__getattr__, __dir__ = attributes(__name__, {}, _ABSENT)
