"""`task.environment`: image, conda file, build context, or a name to look up in the workspace."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from runner.errors import UserError, did_you_mean
from runner.model.image_reference import ALLOWED, parse_reference
from runner.model.job import Environment
from runner.spec import schema
from runner.spec.context import ResolveContext, find_version, known_versions, listed, locate_here, names, parse_at
from runner.spec.disk import is_file, is_folder
from runner.spec.expressions import Scope
from runner.spec.problems import Problems
from runner.spec.python_source import from_python
from runner.spec.values import Reader, as_text, check_keys
from runner.spec.yaml_source import Node, read_yaml
from runner.storage.uri import Uri, looks_like_uri


def read_environment(node: Node | None, scope: Scope, context: ResolveContext, problems: Problems) -> Environment | None:
    """With --local, that an image is not used is said."""
    environment = None
    with problems.catching():
        environment = _read(node, scope, context, problems)
        if environment is not None and environment.is_container and context.local:
            named = f"'{environment.image}'" if environment.image else "that build: describes"
            problems.notice(f"the image {named} is not used: --local runs the script in processes of this machine")
    return environment


def _read(node: Node | None, scope: Scope, context: ResolveContext, problems: Problems) -> Environment | None:
    if node is None:
        return None
    if node.is_mapping:
        return _inline(node, scope, context, problems)
    text = as_text(node, scope)
    if names_file(text):
        path = locate_here(text, node.base, context, node.place)
        return _inline(read_yaml(Path(path), todo=f"named by {node.place}"), scope, context, problems)
    return _named(text, node, scope, context, problems)


def names_file(text: str) -> bool:
    """Whether a text in the place of an environment is the path of its file, and no name."""
    return (text.startswith("file:") or text.endswith((".yml", ".yaml"))) and not text.startswith("azureml:")


def _named(text: str, node: Node, scope: Scope, context: ResolveContext, problems: Problems) -> Environment | None:
    """`azureml:name:version`, `@latest` and registry URIs: all looked up in the workspace. `--python` needs none that is not there."""
    uri = parse_at(text if looks_like_uri(text) else f"azureml:{text}", node.place)
    key = find_version(uri, context.environments) if uri.kind in ("asset", "registry") else None
    if key is None and context.local and context.python:
        problems.notice(f"the environment '{text}' is not known here, and not used: --python names the interpreter")
        return None
    if key is None:
        known = listed(known_versions(uri, context.environments), "environments")
        raise UserError(
            f"the environment '{text}' is not known",
            place=node.place,
            allowed=f"{known}; or image, conda_file, build",
            todo=_what_to_do(uri, context),
        )
    definition = from_python(context.environments[key], base=context.root, field=f"environments.{key}")
    found = _inline(definition, scope, context, problems)
    name, _, version = key.partition(":")
    return replace(found, name=name, version=version or None)


def _what_to_do(uri: Uri, context: ResolveContext) -> str:
    """Names of curated environments are near one another, and still not the same: a guess is not all that is said."""
    guess = did_you_mean(uri.name, names(context.environments) - {uri.name})
    version = f'"{uri.version or 1}"'
    entry = f"environments: {{{uri.name or 'NAME'}: {{{version}: {{conda_file: conda.yml}}}}}}"
    return f"{guess} Else " * bool(guess) + (
        f"register it (runner environment create -f FILE), describe it in workspace.yml ({entry}), give a conda_file, "
        "leave `environment` out to use this interpreter, or name one with --local --python PATH"
    )


def _inline(node: Node, scope: Scope, context: ResolveContext, problems: Problems) -> Environment:
    hints = dict.fromkeys(("channels", "dependencies"), "it stands in the file that conda_file names")
    check_keys(node, schema.ENVIRONMENT, "of an environment", problems, hints)
    reader = Reader(node, scope, problems)
    image, build, conda = node.get("image"), reader.mapping("build"), node.get("conda_file")
    if image and build:
        problems.add("image and build exclude each other", build.place, todo="keep one of them")
    if not (image or build or conda):
        problems.add(
            "the environment says nothing", node.place, allowed="image, conda_file, build", todo="leave it out to use this interpreter"
        )
    name = reader.text("image") or None
    if image is not None and name is None:
        problems.add("the name of the image is empty", image.place, allowed=ALLOWED, todo="name one, or leave `image` out")
    if image is not None and name is not None:
        with problems.catching():
            parse_reference(name, image.place)
    if reader.choice("os_type", ("linux", "Linux", "windows", "Windows"), "linux").lower() == "windows":
        problems.unsupported("Windows images cannot run here", node.entries["os_type"].place, allowed="linux")
    for key in ("inference_config", "datastore", "tags", "properties"):
        if node.get(key):
            problems.notice(f"environment.{key} has no effect here")
    check_keys(build, schema.BUILD, "of build", problems)
    parsed, path = _conda(conda, scope, context) if conda else (None, None)
    return Environment(
        name=reader.text("name") or None,
        version=reader.text("version") or None,
        image=name,
        conda=parsed,
        conda_path=path,
        build_context=_build_context(build, scope, context) if build else None,
        dockerfile=Reader(build, scope, problems).text("dockerfile_path", "Dockerfile") if build else None,
        description=reader.text("description") or None,
    )


def _build_context(build: Node, scope: Scope, context: ResolveContext) -> str:
    node = build.get("path")
    if node is None:
        raise UserError("build needs a `path`", place=build.place, todo="name the folder that is the Docker build context")
    path = locate_here(as_text(node, scope), node.base, context, node.place)
    if not is_folder(path):
        raise UserError(
            f"the folder '{node.text}' does not exist", place=node.place, todo=f"looked for {path}; paths are relative to the job file"
        )
    return context.uploads.get(path, path)


def _conda(node: Node, scope: Scope, context: ResolveContext) -> tuple[Mapping[str, object], str | None]:
    if node.is_mapping:
        return _checked_conda(node), None
    path = locate_here(as_text(node, scope), node.base, context, node.place)
    if not is_file(path):
        raise UserError(
            f"the conda file '{node.text}' does not exist", place=node.place, todo=f"looked for {path}; paths are relative to the job file"
        )
    return _checked_conda(read_yaml(Path(path))), path


def _checked_conda(conda: Node) -> Mapping[str, object]:
    """A conda file's dependencies are texts and at most one list `pip`."""
    dependencies = conda.get("dependencies")
    if dependencies is None or not dependencies.is_list:
        near = difflib.get_close_matches("dependencies", set(conda.entries) - {"dependencies"}, n=1)
        raise UserError(
            "a conda file needs the list `dependencies`",
            place=(dependencies or conda).place,
            todo=f"write dependencies in the place of '{near[0]}'" if near else "e.g. dependencies: [python=3.10, {pip: [pandas]}]",
        )
    for item in dependencies.items:
        pip = item.get("pip")
        fits = (
            set(item.entries) == {"pip"} and (pip is None or all(isinstance(one.value, str) for one in pip.items))
            if item.is_mapping
            else False
        )
        if not fits and not isinstance(item.value, str):
            raise UserError(
                "a dependency must be text, or a list below `pip:`", place=item.place, allowed="- python=3.10, - pip: [pandas==2.2]"
            )
    plain = conda.plain()
    assert isinstance(plain, dict)
    return plain
