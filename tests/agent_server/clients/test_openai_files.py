"""Files with OpenAI's own client."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from app.files.uploads import MAX_UPLOAD_BYTES
from tests.agent_server.http.serving import running
from tests.agent_server.page.page_server import page_server


@pytest.mark.parametrize("path", ["/v1", "/api", ""])
async def test_a_file_is_uploaded_described_and_deleted(path: str, tmp_path: Path) -> None:
    large = b"1" * MAX_UPLOAD_BYTES
    async with page_server(tmp_path) as page, running(page.services) as server:
        headers = {"X-Forwarded-User": "ann"}
        client = openai.AsyncOpenAI(base_url=server.address + path, api_key="none", timeout=10, default_headers=headers)
        async with client:
            file = await client.files.create(file=("Umsätze.csv", large), purpose="user_data")
            assert (file.filename, file.bytes, file.object) == ("Umsätze.csv", len(large), "file")
            assert file.created_at > 1_700_000_000
            assert await client.files.retrieve(file.id) == file
            assert (await client.files.delete(file.id)).deleted
            with pytest.raises(openai.NotFoundError):
                await client.files.retrieve(file.id)
            with pytest.raises(openai.BadRequestError, match="not read"):
                await client.files.create(file=("a.xlsx", b"1"), purpose="user_data")
