"""What a run of one step says: its events, as the observers of the job get them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from runner.engine.session import Verdict
from runner.model.batch import ErrorRecord, Progress
from runner.model.events import AttemptFailed, JobEnded, Message, Observer, Progressed, StatusChanged
from runner.model.job import Step


@dataclass(frozen=True)
class Voice:
    """Of one step. Threads may share it, as far as they may share the observer."""

    step: Step
    observe: Observer

    def say(self, text: str) -> None:
        self.observe(Message(at=time.time(), level="INFO", text=text))

    def warn(self, text: str) -> None:
        self.observe(Message(at=time.time(), level="WARNING", text=text))

    def status(self, status: str, reason: str = "") -> None:
        self.observe(StatusChanged(at=time.time(), status=status, reason=reason))

    def environment(self, text: str) -> None:
        """What is done stands on the terminal; pip's own lines in the log only."""
        self.say(text)
        if text.startswith(("making ", "building ", "pulling ")):
            self.status("Preparing", text)

    def progressed(self, progress: Progress) -> None:
        """A command has nothing to be counted: that it is run as a mini-batch is nobody's business."""
        if not self.step.command:
            self.observe(Progressed(at=time.time(), progress=progress))

    def lost(self, node: str, index: int, error: ErrorRecord) -> None:
        """A mini-batch is given up, because instances were lost with it."""
        attempts = self.step.retry.max_retries + 1
        self.observe(
            AttemptFailed(
                at=time.time(), node=node, process="keeper", index=index, attempt=attempts, attempts=attempts, final=True, seconds=0.0,
                error=error,
            )
        )  # fmt: skip

    def ended(self, verdict: Verdict, code: str, message: str) -> None:
        first = verdict.failures[0][1] if verdict.failures else None
        self.observe(JobEnded(at=time.time(), status=verdict.status, code=code, message=message, error=first))
        self.status(verdict.status)
