"""What is carried to machines without a network: wheels, the image of a node and others, files, checksums, in one tar file.

python deploy/bundle.py bundle [--base IMAGE] [--image IMAGE …] [--no-node-image]     dist/bundle-VERSION.tar
python deploy/bundle.py image [--base IMAGE] [--tag TAG] [--requirements "numpy pillow"]     only an image, into the engine
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
BASE = "python:3.11-slim"
NODE = "runner[ray]"
# What lies beside the wheels in the bundle.
FILES = (
    "deploy/install.sh",
    "deploy/compose.yml",
    "deploy/ray-cluster.yaml",
    "deploy/systemd",
    "docker/node.Dockerfile",
    "constraints.txt",
    "docs",
    "README.md",
)
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def version() -> str:
    found = re.search(r'^VERSION = "([^"]+)"', (ROOT / "runner" / "version.py").read_text(), re.MULTILINE)
    assert found
    return found[1]


def call(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"`{' '.join(words)}` failed with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def python_of(image: str) -> str:
    """The version of an image's Python, for which the wheels have to be."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return call("docker", "run", "--rm", "--network=none", "--entrypoint=python3", image, "-c", code).strip()


def make_wheels(folder: Path, python: str, requirements: list[str]) -> None:
    """Wheels of what is required, and of pip, which installs them. The runner's own is built from this checkout."""
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip"]
    with tempfile.TemporaryDirectory() as copy:
        # A copy: building leaves folders behind, and old ones get into the wheel.
        for name in ("pyproject.toml", "README.md", "runner"):
            source, target = ROOT / name, Path(copy) / name
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__")) if source.is_dir() else shutil.copy(
                source, target
            )
        call(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), copy)
    own = next(folder.glob("runner-*.whl"))
    wanted = [f"{own}[{extra}]" if (extra := _extra(one)) is not None else one for one in requirements]
    platforms = [f"--platform={name}_{platform.machine()}" for name in PLATFORMS]
    options = ["--quiet", "--only-binary=:all:", f"--python-version={python}", *platforms, f"--constraint={ROOT / 'constraints.txt'}"]
    call(*pip, "download", *options, "--dest", str(folder), "pip", *wanted)


def _extra(requirement: str) -> str | None:
    """`ray` of `runner[ray]`; None of what is not the runner."""
    match = re.fullmatch(r"runner(?:\[([\w,]+)\])?", requirement)
    return (match[1] or "") if match else None


def build_image(context: Path, base: str, tag: str, requirements: list[str]) -> None:
    """Of wheels in the context; with any builder, and without a network."""
    arguments = [f"--build-arg=BASE={base}", f"--build-arg=REQUIREMENTS={' '.join(requirements)}", "--network=none"]
    call("docker", "build", "--quiet", *arguments, f"--tag={tag}", f"--file={ROOT / 'docker' / 'node.Dockerfile'}", str(context))


def make_image(base: str, tag: str, requirements: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_wheels(Path(folder) / "wheels", python_of(base), requirements)
        build_image(Path(folder), base, tag, requirements)


def make_bundle(base: str, images: list[str], *, node_image: bool, target: Path) -> None:
    python = python_of(base) if node_image else "{}.{}".format(*sys.version_info[:2])
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / f"runner-{version()}"
        make_wheels(top / "wheels", python, [NODE])
        (top / "PYTHON").write_text(python + "\n")
        (top / "images").mkdir()
        if node_image:
            tag = f"runner-node:{version()}"
            build_image(top, base, tag, [NODE])
            images = [tag, *images]
        for image in images:
            call("docker", "save", f"--output={top / 'images' / re.sub(r'[^A-Za-z0-9.-]+', '-', image)}.tar", image)
        for name in FILES:
            source, place = ROOT / name, top / Path(name).name
            shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)
        write_sums(top)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w") as tar:
            tar.add(top, top.name, filter=of_root)


def write_sums(top: Path) -> None:
    files = sorted(path for path in top.rglob("*") if path.is_file())
    lines = [f"{digest(file)}  {file.relative_to(top)}\n" for file in files]
    (top / "SHA256SUMS").write_text("".join(lines))


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        found = hashlib.sha256()
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bundle", "image"))
    parser.add_argument("--base", default=BASE, help="the image to start from, which has Python >= 3.10")
    parser.add_argument("--image", action="append", default=[], help="another image for the bundle, of jobs, say; repeatable")
    parser.add_argument("--no-node-image", action="store_true", help="the bundle has wheels only, for machines that are nodes themselves")
    parser.add_argument("--tag", default=f"runner-node:{version()}")
    parser.add_argument("--requirements", default=NODE)
    parser.add_argument("--target", type=Path, default=DIST / f"bundle-{version()}.tar")
    given = parser.parse_args()
    if given.what == "image":
        make_image(given.base, given.tag, given.requirements.split())
        print(given.tag)
    else:
        make_bundle(given.base, given.image, node_image=not given.no_node_image, target=given.target)
        print(f"{given.target}: {given.target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
