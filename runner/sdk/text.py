"""Jobs as text for people: YAML, without what opens a storage account."""

from __future__ import annotations

import re
from typing import Any

# Signatures of shared access URIs, keys and passwords of connection strings, passwords in URLs.
_SECRETS = re.compile(r"(?i)([?&;](?:sig|sharedaccesssignature|accountkey|password|pwd)=|\baccountkey=|://[^/\s:@]+:)[^&;\s@]+")


def mask(value: Any) -> Any:
    """A copy in which credentials that are part of texts are three stars."""
    if isinstance(value, str):
        return _SECRETS.sub(r"\1***", value)
    if isinstance(value, dict):
        return {key: mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mask(item) for item in value]
    return value


def to_yaml(data: dict[str, Any], *, masked: bool = True) -> str:
    import yaml

    text: str = yaml.safe_dump(mask(data) if masked else data, sort_keys=False, allow_unicode=True, width=140)
    return text
