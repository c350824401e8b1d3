"""An engine is asked for what it sees at a path, without anything being started."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cluster.probes import check_engine, write_probes
from runner.errors import UserError
from runner.launch.engine_view import EMPTY_IMAGE, engine_version, read_through
from runner.launch.image import EngineError, connect
from runner.launch.owners import LABEL_OWNER

pytestmark = pytest.mark.needs("docker")


def test_what_the_engine_sees(tmp_path: Path) -> None:
    ((path, content),) = write_probes({"shared": tmp_path}).files.items()
    engine = connect()
    client = engine.client()
    try:
        assert engine_version(engine)[0].isdigit()
        for _ in range(2):  # the image is made, and found again
            assert read_through(engine, path) == content.encode()
        with pytest.raises(EngineError, match="does not exist"):
            read_through(engine, f"{path}.not")
        assert not client.containers(all=True, filters={"label": LABEL_OWNER, "ancestor": EMPTY_IMAGE})
    finally:
        client.close()
        engine.close()


def test_it_is_told_what_the_engine_sees_instead(tmp_path: Path) -> None:
    ((path, content),) = write_probes({"shared": tmp_path}).files.items()
    check_engine(path, content)
    for wrong, words in ((path, "in the place of 'shared"), (f"{path}.not", "does not exist")):
        with pytest.raises(UserError) as caught:
            check_engine(wrong, content.replace("2026", "1999"))
        assert words in caught.value.describe()
        assert "does not see the datastore shared" in caught.value.describe()
