"""Where `azure.ai.ml.dsl` has it."""

from runner.sdk.group import group

__all__ = ["group"]
