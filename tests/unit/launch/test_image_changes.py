from __future__ import annotations

from runner.launch.image_changes import changes_of


def test_all_that_a_container_would_have_of_its_own():
    config = {
        "Env": ["PATH=/a:/b", 'QUOTED=say "this"', "LINES=one\ntwo"],
        "Labels": {"runner.image": "1234", "multi": "a\nb"},
        "Cmd": ["python", "-c", "print('x y')"],
        "Entrypoint": None,
        "User": "app",
        "WorkingDir": "/home/app",
    }
    assert changes_of(config) == [
        "ENV PATH=/a:/b",
        'ENV QUOTED=say "this"',
        "LABEL runner.image=1234",
        "ENTRYPOINT []",
        """CMD ["python", "-c", "print('x y')"]""",
        "USER app",
        "WORKDIR /home/app",
    ]


def test_nothing_said():
    assert changes_of({}) == ["ENTRYPOINT []", "CMD []", "USER 0:0", "WORKDIR /"]
