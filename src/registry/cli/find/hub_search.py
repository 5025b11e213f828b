"""Searching the hub by words, through its API: nothing of it is kept in the cache."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from registry.download import hub
from registry.download.http import get
from registry.errors import FetchError
from registry.files.urls import redacted
from registry.records import HUB

LARGEST = 8 * 2**20
"""Bytes of an answer."""


@frozen(kw_only=True)
class HubModel:
    """A repository that the hub found."""

    name: str
    """``organization/name``."""
    task: str | None
    """The hub's word for what the model is for: ``fill-mask``."""
    tags: tuple[str, ...]
    """Words such as the ``model_type``, libraries and ``license:mit``."""
    downloads: int | None
    """Downloads of the last month."""


def search_hub(words: str, limit: int) -> list[HubModel]:
    """The most downloaded models of the hub that a search for some words finds.

    Args:
        words: The words.
        limit: The most models to return.

    Raises:
        FetchError: The hub cannot be reached, refuses, or answers in another form.
    """
    query = {"search": words, "limit": limit, "sort": "downloads", "direction": -1}
    url = f"{HUB}/api/models?{urlencode(query)}"
    with closing(get(url, {})) as response:
        found = response.body.read(LARGEST + 1, decode_content=True)
    try:
        return list(_models(json.loads(found)))[:limit]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise FetchError(
            f"the answer of {redacted(hub.through_endpoint(url))} is not a response of the hub's API.",
            hint="The variable HF_ENDPOINT names another server." if hub.endpoint() != HUB else None,
        ) from problem


def _models(answer: Any) -> Iterator[HubModel]:
    for entry in answer:
        task, downloads = entry.get("pipeline_tag"), entry.get("downloads")
        yield HubModel(
            name=str(entry["id"]),
            task=None if task is None else str(task),
            tags=tuple(map(str, entry.get("tags") or ())),
            downloads=downloads if isinstance(downloads, int) else None,
        )
