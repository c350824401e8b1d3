"""Names of images and the map that leads them elsewhere."""

from __future__ import annotations

import pytest

from runner.errors import Place, UserError
from runner.model.image_reference import hide_credentials, map_image, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest", "full"),
    [
        ("python", "", "library/python", "", "", "/library/python:latest"),
        ("team/scorer:1.2", "", "team/scorer", "1.2", "", "/team/scorer:1.2"),
        ("localhost/scorer", "localhost", "scorer", "", "", "localhost/scorer:latest"),
        ("registry.example:5000/a/b_c/d--e:v1", "registry.example:5000", "a/b_c/d--e", "v1", "", "registry.example:5000/a/b_c/d--e:v1"),
        (f"registry.example/a@{DIGEST}", "registry.example", "a", "", DIGEST, f"registry.example/a@{DIGEST}"),
        (f"registry.example/a:1@{DIGEST}", "registry.example", "a", "1", DIGEST, f"registry.example/a:1@{DIGEST}"),
        ("[::1]:5000/a", "[::1]:5000", "a", "", "", "[::1]:5000/a:latest"),
        (DIGEST, "", "", "", DIGEST, DIGEST),
    ],
)
def test_parts(text, registry, repository, tag, digest, full):
    found = parse_reference(text)
    assert (found.registry, found.repository, found.tag, found.digest) == (registry, repository, tag, digest)
    assert found.full == full
    assert found.is_id == (not repository)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a part of the name is empty"),
        ("registry.example/", "a part of the name is empty"),
        ("scorer:", "'' is no tag"),
        ("scorer:a b", "'a b' is no tag"),
        ("scorer@sha256:12", "'sha256:12' is no digest"),
        ("registry.example:port/scorer", "'registry.example:port' is no registry"),
        ("registry.example/Scorer", "'Scorer' has capital letters"),
        ("registry.example/a..b", "'a..b' is no part of a name"),
        ("https://registry.example/a", "is no registry|is no part|is empty"),
        ("a" * 256, "longer than 255"),
    ],
)
def test_what_is_wrong_is_said(text, why):
    with pytest.raises(UserError, match=why) as caught:
        parse_reference(text, Place(file="job.yml", line=3))
    assert str(caught.value).startswith("job.yml:3: ")
    assert "@sha256:" in caught.value.allowed


def test_a_password_in_a_name_is_not_repeated():
    with pytest.raises(UserError) as caught:
        parse_reference("https://user:pa55word@registry.example/a")
    assert "pa55word" not in str(caught.value)
    assert "Docker's own configuration" in caught.value.todo
    assert hide_credentials("Looking in https://a:b@x/y and http://t0ken@z") == "Looking in https://****@x/y and http://****@z"
    assert hide_credentials("https://x.example/a@b mail@x.example") == "https://x.example/a@b mail@x.example"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("registry.example/azureml/base:1", "mine.example/mirror/base:1"),
        ("registry.example/other/base", "mine.example/all/other/base"),
        ("python:3.11", "mine.example/hub/library/python:3.11"),
        ("team/a:2", "mine.example/hub/team/a:2"),
        ("elsewhere.example/a", "elsewhere.example/a"),
        (f"registry.example/azureml/base@{DIGEST}", f"mine.example/mirror/base@{DIGEST}"),
    ],
)
def test_the_longest_prefix_of_the_map_wins(name, wanted):
    image_map = {
        "registry.example/": "mine.example/all/",
        "registry.example/azureml/": "mine.example/mirror/",
        "/": "mine.example/hub/",
        "": "never.example/",
    }
    assert map_image(name, image_map) == wanted
    assert map_image(name, {}) == name
