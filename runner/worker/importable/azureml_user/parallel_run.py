"""`from azureml_user.parallel_run import EntryScript`: what an entry script may ask about where it runs.

Inside a worker, and in the processes that it starts, the answers are those of the job. Elsewhere, for instance in a unit test on a
laptop, they are the current folder, and the log goes to stderr. Standard library only, Python >= 3.7.
"""

import json
import logging
import os

__all__ = ["EntryScript"]

VARIABLE = "RUNNER_ENTRY_SCRIPT"  # set by a worker: the answers as JSON
LOGGER = "azureml_user.entry_script"
LOG_FORMAT = "%(asctime)s|%(levelname)s|%(process)d|%(message)s"


class EntryScript(object):
    """The same object wherever it is asked for.

    log_dir      folder for log files of the script's own; exists
    output_dir   folder for its outputs
    working_dir  the worker's copy of the code folder
    agent_name   unique among the workers of a job
    config       names of the job, node and process, and settings, as a dict
    """

    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = object.__new__(cls)
            facts = json.loads(os.environ.get(VARIABLE) or "{}")
            here = os.getcwd()
            cls._instance.log_dir = facts.get("log_dir", here)
            cls._instance.output_dir = facts.get("output_dir") or os.environ.get("AZUREML_BI_OUTPUT_PATH", here)
            cls._instance.working_dir = facts.get("working_dir", here)
            cls._instance.agent_name = facts.get("agent_name", "local")
            cls._instance.config = facts.get("config", {})
            cls._instance._level = facts.get("logging_level", "INFO")
        return cls._instance

    @property
    def logger(self):
        """A `logging.Logger` that writes to the entry script's log, from the job's logging_level on."""
        logger = logging.getLogger(LOGGER)
        if not logger.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter(LOG_FORMAT))
            logger.addHandler(handler)
            logger.setLevel(self._level)
            logger.propagate = False
        return logger
