"""Wrong files: what we refuse, and what the loader of `azure-ai-ml` does; where only one of both does, a row of the table says why."""

from __future__ import annotations

import pytest
import yaml

from runner.errors import UserError
from runner.spec.load import read_job
from runner.spec.resolve import ResolveContext, resolve
from tests.integration.azure_loader import azure_load
from tests.integration.azure_ours import CORPUS, files
from tests.integration.azure_rows import AZURE_REFUSES, WE_REFUSE

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("offline")]  # warnings of azure-ai-ml and what it imports


def refused_at(name: str, context: ResolveContext) -> str:
    """Our message; empty where the file is taken."""
    try:
        resolve(read_job(CORPUS / name), context)
    except UserError as error:
        return str(error)
    return ""


def refuses_there(name: str) -> bool:
    from azure.ai.ml.exceptions import MlException
    from marshmallow import ValidationError

    try:
        job = azure_load(name)
        return hasattr(job, "_validate") and not job._validate().passed
    except (MlException, ValidationError, ValueError, yaml.YAMLError):  # a ValueError for sizes of mini-batches
        return True


@pytest.mark.parametrize("name", files("wrong"))
def test_a_wrong_file_is_refused(name: str, corpus_context: ResolveContext) -> None:
    """Its first line says where: `# refused here: FIELD`, or `# taken here`."""
    ours = refused_at(name, corpus_context)
    assert (bool(ours), refuses_there(name)) == (name not in AZURE_REFUSES, name not in WE_REFUSE), "(here, there)"
    first = (CORPUS / name).read_text().partition("\n")[0]
    assert first == "# taken here" if not ours else first.partition(": ")[2] in ours
