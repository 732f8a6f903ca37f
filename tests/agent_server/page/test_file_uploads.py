"""A file is uploaded before it is asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.files.uploads import MAX_UPLOAD_BYTES
from tests.agent_server.page.page_server import PageServer, page_server

ANN = "4711@99"
CSV = b"region,revenue\nPorto,1\n"


async def test_an_uploaded_file_has_an_id_and_is_kept_as_it_is(page: PageServer) -> None:
    answer = await page.upload(ANN, "Umsätze 2026.csv", CSV)
    assert answer.status_code == 201
    file = answer.json()
    assert (file["name"], file["bytes"]) == ("Umsätze 2026.csv", len(CSV))
    assert await page.uploads.read(f"apps/{ANN}", file["id"]) == CSV
    assert (await page.upload(ANN, "Umsätze 2026.csv", CSV)).json()["id"] != file["id"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\Users\\ann\\a.csv", "a.csv"),
        ("a\u202e`.csv", "a.csv"),
        ("x" * 300 + ".CSV", f"{'x' * 70}…{'x' * 5}.CSV"),
        ("😀.json", "😀.json"),
    ],
)
async def test_a_file_name_is_safe_to_show(name: str, shown: str, page: PageServer) -> None:
    assert (await page.upload(ANN, name)).json()["name"] == shown


@pytest.mark.parametrize(
    ("name", "content", "status", "says"),
    [
        ("a.xlsx", CSV, 400, "ends with one of .csv"),
        ("a", CSV, 400, "ends with one of"),
        ("a.csv", b"", 400, "empty"),
        ("a.csv", b" \r\n", 400, "empty"),
        ("a.csv", b"1" * (MAX_UPLOAD_BYTES + 1), 413, "larger than 10 MB"),
        ("a.csv", b"1" * (MAX_UPLOAD_BYTES + 100_000), 413, "too large"),
    ],
)
async def test_what_nobody_could_read_is_refused(
    name: str, content: bytes, status: int, says: str, page: PageServer
) -> None:
    answer = await page.upload(ANN, name, content)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


async def test_the_largest_file_is_taken(page: PageServer) -> None:
    assert (await page.upload(ANN, "a.csv", b"1" * MAX_UPLOAD_BYTES)).json()["bytes"] == MAX_UPLOAD_BYTES


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"file": "a"}', "application/json", 415),
        (b"", "multipart/form-data", 400),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x", 400),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file\r\n--x--\r\n', "boundary", 400),
        (
            b'--x\r\nContent-Disposition: form-data; name="other"; filename="a.csv"\r\n\r\n1\r\n--x--\r\n',
            "boundary",
            400,
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.csv"\r\n\r\n1\r\n' * 2 + b"--x--\r\n",
            "boundary",
            400,
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + b"1" * 10_000 + b"\r\n--x--\r\n",
            "boundary",
            400,
        ),
    ],
)
async def test_a_form_that_is_none_is_refused_with_a_sentence(
    body: bytes, content_type: str, status: int, page: PageServer
) -> None:
    content_type = "multipart/form-data; boundary=x" if content_type == "boundary" else content_type
    answer = await page.send(ANN, "POST", "/api/files", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"]["message"].endswith(".")


async def test_an_agent_that_reads_no_files_takes_none(tmp_path: Path) -> None:
    async with page_server(tmp_path, reads_files=False) as page:
        answer = await page.upload(ANN)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "This agent reads no files.")
