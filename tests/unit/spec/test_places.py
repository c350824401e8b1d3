import time

import pytest

from runner.spec.places import Places


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/data/s", "has the path of 'a.o': /data/s"),
        ("/data/s/t/u", "lies in that of 'a.o', which is /data/s"),
        ("/data", "has that of 'a.o' in it"),
        ("/data/st", ""),
        ("/other", ""),
        ("azureml://datastores/d/paths/x/y", "lies in that of 'b.rows', which is azureml://datastores/d/paths/x"),
        ("azureml://datastores/d/paths/xy", ""),
    ],
)
def test_places_of_others(path: str, says: str) -> None:
    places = Places()
    places.take("/data/s", ("a", "o"))
    places.take("azureml://datastores/d/paths/x", ("b", "rows"))
    assert places.clash(path) == says


def test_many_steps() -> None:
    places, began = Places(), time.monotonic()
    for number in range(10_000):
        path = f"/data/job.step_{number}/out"
        assert not places.clash(path)
        places.take(path, (f"step_{number}", "out"))
    assert time.monotonic() - began < 5
