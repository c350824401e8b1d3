"""An engine is asked for what it sees at a path, without anything being started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cluster.probes import check_engine, write_probes
from runner.errors import UserError
from runner.launch.docker_client import EngineError
from runner.launch.engine_view import EMPTY_IMAGE, engine_version, read_through
from runner.launch.image import connect
from runner.launch.owners import LABEL_OWNER, own_mark
from tests.acceptance.jobs import folder_for_all
from tests.engines import KINDS, started

pytestmark = pytest.mark.needs("docker")


def test_what_the_engine_sees(tmp_path: Path) -> None:
    ((path, content),) = write_probes({"shared": tmp_path}).files.items()
    engine = connect()
    client = engine.client()
    try:
        assert engine_version(engine)[0].isdigit()
        for _ in range(2):  # the image is made, and found again
            assert read_through(engine, path) == content.encode()
        for missing, words in ((f"{path}.not", "ould not find the file"), (str(tmp_path / "no/probe"), "does not exist")):
            with pytest.raises(EngineError, match=words):
                read_through(engine, missing)
        assert not client.containers(all=True, filters={"label": f"{LABEL_OWNER}={own_mark()}", "ancestor": EMPTY_IMAGE})
    finally:
        client.close()
        engine.close()


def test_it_is_told_what_the_engine_sees_instead(tmp_path: Path) -> None:
    ((path, content),) = write_probes({"shared": tmp_path}).files.items()
    check_engine(path, content)
    for wrong, words in ((path, "in the place of 'shared"), (f"{tmp_path}/no/probe", "does not exist")):
        with pytest.raises(UserError) as caught:
            check_engine(wrong, content.replace("2026", "1999"))
        assert words in caught.value.describe()
        assert "does not see the datastore shared" in caught.value.describe()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_engine_shows_it(kind: str, needs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    needs(f"engine-{kind}")
    with folder_for_all() as folder, started(kind) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        ((path, content),) = write_probes({"shared": folder}).files.items()
        for _ in range(2):
            check_engine(path, content)
        with pytest.raises(UserError, match="does not see the datastore shared"):
            check_engine(f"{path}.not", content)
