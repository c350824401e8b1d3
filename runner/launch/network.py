"""Proxies and CA bundles: one setting of the workspace, in the variables that programs look for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runner.model.docker import DockerSettings

CA_PATH = "/etc/runner-ca.pem"  # where containers find the bundle: a path of its own, not over the image's certificates
# OpenSSL and with it Python's ssl, requests, pip, curl, conda and its kin, git.
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "CONDA_SSL_VERIFY",
    "MAMBA_SSL_VERIFY",
    "GIT_SSL_CAINFO",
)
# Settings of pip that count in the virtual environments of this machine, and therefore in images as well.
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES")


def proxy_environment(docker: DockerSettings) -> dict[str, str]:
    """In lower and in upper case: programs differ in which one they read."""
    return {spelled: value for name, value in docker.proxy.items() for spelled in (name, name.upper())}


def network_environment(docker: DockerSettings, ca_path: str = CA_PATH) -> dict[str, str]:
    """The variables of a container that has the workspace's bundle at `ca_path`; without a bundle, of its proxies only."""
    certificates = dict.fromkeys(CA_VARIABLES, ca_path) if docker.ca_bundle else {}
    return {**proxy_environment(docker), **certificates}


def install_environment(docker: DockerSettings, ca_path: str, own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of pip and conda in an image: the network's, and where this user has pip look for packages."""
    kept = {name: own[name] for name in PIP_VARIABLES if name in own}
    return {**kept, **network_environment(docker, ca_path)}
