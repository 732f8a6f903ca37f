"""Which addresses of files are trusted."""

from __future__ import annotations

import pytest

from app.common.sharepoint_url import UntrustedFileUrlError, check_file_url


@pytest.mark.parametrize(
    "url",
    [
        "https://contoso-my.sharepoint.com/personal/ann/Documents/a.csv",
        "https://contoso.sharepoint.com/_api/v2.0/drives/b!x/items/01/uploadSession?guid='a'&overwrite=False",
        "https://CONTOSO.SharePoint.us:443/a",
    ],
)
def test_files_of_sharepoint_are_trusted(url: str) -> None:
    assert check_file_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "http://contoso.sharepoint.com/a",
        "https://contoso.sharepoint.com:8443/a",
        "https://sharepoint.com/a",
        "https://evilsharepoint.com/a",
        "https://contoso.sharepoint.com.evil.example/a",
        "https://evil.example/contoso.sharepoint.com",
        "https://contoso.sharepoint.com@evil.example/a",
        "https://evil.example\\.sharepoint.com/a",
        "https://evil.example#.sharepoint.com/a",
        "https://ann@contoso.sharepoint.com/a",
        "https://contoso.sharepoint.com:x/a",
        "https://[::1/a",
        "https://127.0.0.1/a",
        "https://contoso.sharepoint.com/a\nHost: evil",
        "https://contoso.sharepoint.com/" + "a" * 5_000,
    ],
)
def test_no_other_address_is_trusted(url: str) -> None:
    with pytest.raises(UntrustedFileUrlError) as refusal:
        check_file_url(url)
    assert "evil" not in str(refusal.value)


def test_this_machine_is_trusted_where_that_is_allowed() -> None:
    assert check_file_url("http://127.0.0.1:8123/a", allows_loopback=True)
    for url in ("http://10.0.0.1/a", "ftp://127.0.0.1/a", "http://localhost.evil.example/a"):
        with pytest.raises(UntrustedFileUrlError):
            check_file_url(url, allows_loopback=True)
