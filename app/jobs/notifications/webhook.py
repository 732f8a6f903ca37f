"""A signed webhook for programs: https://www.standardwebhooks.com (version 1 of its signatures)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from app.common.iso_time import iso_time
from app.jobs.notifications.digest import Digest
from app.jobs.notifications.http_notifier import Post, Target
from app.jobs.notifications.incident_message import IncidentMessage

_PREFIX = "whsec_"


def webhook_target(url: str, secret: str) -> Target:
    """`secret` as `signing_key` takes it. Raises `ValueError` as it does, and as `Target` does."""
    key = signing_key(secret)
    return Target(
        "webhook",
        url,
        lambda message, now: signed_post(webhook_body(message), message.notice_id, key, now),
        lambda digest, now: signed_post(digest_body(digest), digest.id, key, now),
        secrets=(secret,),
    )


def webhook_body(message: IncidentMessage) -> bytes:
    data = message.model_dump(mode="json", exclude={"notice_id", "kind", "at_seconds", "facts", "links"})
    data["facts"] = dict(message.facts)
    data["links"] = [{"label": label, "url": url} for label, url in message.links]
    event = {"type": f"job.incident.{message.kind}", "timestamp": iso_time(message.at_seconds), "data": data}
    return json.dumps(event, ensure_ascii=False).encode()


def digest_body(digest: Digest) -> bytes:
    event = {"type": "job.digest", "timestamp": iso_time(digest.until_seconds), "data": digest.model_dump(mode="json")}
    return json.dumps(event, ensure_ascii=False).encode()


def signed_post(body: bytes, id_: str, key: bytes, now: float) -> Post:
    """`id_` is the idempotency key: the same for each attempt. A receiver refuses what is older than some minutes."""
    timestamp = str(int(now))
    signature = hmac.new(key, b".".join((id_.encode(), timestamp.encode(), body)), hashlib.sha256).digest()
    return Post(
        body,
        {
            "webhook-id": id_,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        },
    )


def signing_key(secret: str) -> bytes:
    """What follows `whsec_` is base64, as Standard Webhooks writes secrets; any other text is the key itself.

    Raises `ValueError` where it is no base64, or empty.
    """
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("the secret of the webhook is not base64 after whsec_") from None
    if not key:
        raise ValueError("the webhook has no secret")
    return key
