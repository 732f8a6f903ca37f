"""The person who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The person who asks, as an authenticated channel named them; a field is empty where it did not.

    `tenant_id` and `entra_object_id` are Microsoft Entra's. `user_id` is the channel's own, unique within the channel
    and the bot (`29:…` in Teams). `name` is for display alone: people choose it.
    """

    tenant_id: str = ""
    user_id: str = ""
    entra_object_id: str = ""
    name: str = ""


UNKNOWN_CALLER = Caller()
