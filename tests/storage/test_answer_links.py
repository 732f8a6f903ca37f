"""Links to answers that are too long for a queue, on Azurite: one blob, read only, for an hour."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob.aio import BlobServiceClient
from pydantic import SecretStr

from app.storage.azure.azure_clients import open_links
from app.storage.azure.blob_links import BlobLinks
from app.storage.factory import open_answer_links
from app.storage.storage_account import StorageAccount
from app.storage.storage_credential import StorageCredential
from app.storage.storage_errors import StorageError
from tests.fakes.azurite import Azurite, installed
from tests.fakes.certificate import localhost
from tests.fakes.clock import Clock
from tests.fakes.stores import account

TEXT = "# Größe\n\n" + "long, " * 20_000


async def get(address: str, **options: object) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(address, **options) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.text()


@pytest.mark.slow
async def test_a_link_reads_one_blob_for_an_hour_and_nothing_else(azurite: Azurite) -> None:
    links = open_links(account(azurite), "answers")
    one, other = await links.link_to(TEXT), await links.link_to("other")
    assert await get(one) == (200, TEXT)
    parts, others = urlsplit(one), urlsplit(other)
    assert (await get(parts._replace(path=others.path).geturl()))[0] == 403
    listing = f"{parts.scheme}://{parts.netloc}/devstoreaccount1/answers?restype=container&comp=list&{parts.query}"
    assert (await get(listing))[0] == 403
    assert (await get(parts._replace(query="").geturl()))[0] in {403, 404}
    async with aiohttp.ClientSession() as client:
        async with client.put(one, data=b"x", headers={"x-ms-blob-type": "BlockBlob"}) as refused:
            assert refused.status == 403
        async with client.delete(one) as refused:
            assert refused.status == 403
        async with client.get(one) as answer:
            assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
            assert answer.headers["Content-Disposition"].startswith("attachment")
    await links.close()
    past = open_links(account(azurite), "answers", clock=lambda: time.time() - 3601)
    assert (await get(await past.link_to("an hour ago")))[0] == 403
    await past.close()


class Identity:
    """An Entra ID token, whose signature Azurite does not look at."""

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        now = int(time.time())
        claims = {
            **{"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant/", "nbf": now - 60},
            **{"iat": now - 60, "exp": now + 3600, "tid": "tenant", "oid": "object"},
        }
        parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
        return AccessToken(
            ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".x", now + 3600
        )

    async def close(self) -> None: ...

    async def __aenter__(self) -> Identity:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture
def azurite_with_identities(tmp_path: Path) -> Iterator[Azurite]:
    _, certificate = localhost(tmp_path)
    keys = ("--cert", str(certificate), "--key", str(tmp_path / "private.pem"))
    with Azurite(installed(), options=("--oauth", "basic", *keys)) as running:
        yield running


@pytest.mark.slow
async def test_with_an_identity_a_link_is_signed_by_user_delegation(azurite_with_identities: Azurite) -> None:
    identity, clock = Identity(), Clock()
    clock.now = time.time()
    service = BlobServiceClient(azurite_with_identities.address("blob", "https"), identity, connection_verify=False)
    links = BlobLinks(service, "answers", clock=clock)
    # Azurite 3.35 knows no signature of this client's version, so nothing is fetched here.
    signed = [parse_qs(urlsplit(await links.link_to(TEXT)).query) for _ in range(2)]
    clock.now += 11.5 * 3600
    signed.append(parse_qs(urlsplit(await links.link_to(TEXT)).query))
    for each in signed:
        assert (each["sp"], each["sr"], each["spr"], each["skoid"]) == (["r"], ["b"], ["https"], ["object"])
        assert each["se"] <= each["ske"], "the link would end with its key"
    assert signed[0]["ske"] == signed[1]["ske"] != signed[2]["ske"]
    hour = [(datetime.fromisoformat(each["se"][0]).timestamp() - clock.now) / 3600 for each in signed]
    assert hour == pytest.approx([-10.5, -10.5, 1], abs=0.01)
    await links.close()


def test_there_is_no_link_to_a_file(tmp_path: Path) -> None:
    assert open_answer_links(tmp_path / "agent.sqlite", StorageCredential()) is None


async def test_storage_that_does_not_answer_is_a_storage_error() -> None:
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=QQ==;BlobEndpoint=http://127.0.0.1:1/a;"
    links = open_links(StorageAccount(SecretStr(nowhere)), "answers", retry_total=0)
    with pytest.raises(StorageError):
        await links.link_to(TEXT)
    await links.close()
