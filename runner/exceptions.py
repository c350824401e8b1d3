"""What is raised here, under the names that scripts catch: those of `azure.ai.ml.exceptions`."""

from __future__ import annotations

from runner.errors import RunnerError as MlException
from runner.errors import UserError as UserErrorException
from runner.errors import UserError as ValidationException
from runner.sdk.submitted import JobFailedError as JobException

__all__ = ["JobException", "MlException", "UserErrorException", "ValidationException"]
