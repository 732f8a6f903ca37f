"""What pip says without a network is not what is wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from app.local.lifetime import listen, port_of
from ops.pip_install import PipError, install_lock, why_pip_failed

NOT_FOUND = "ERROR: No matching distribution found for aiohttp==3.14.5"


def retrying(cause: str, left: int = 0) -> str:
    return (
        f"WARNING: Retrying (Retry(total={left}, connect=None)) after connection broken by '{cause}': /simple/aiohttp/"
    )


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            [retrying("NewConnectionError('[Errno -3] Temporary failure in name resolution')"), NOT_FOUND],
            "no connection",
        ),
        ([retrying("NameResolutionError(\"Failed to resolve 'pypi.org'\")"), NOT_FOUND], "no connection"),
        (["ReadTimeoutError: HTTPSConnectionPool(host='files.pythonhosted.org', port=443)"], "no connection"),
        ([retrying("ProxyError('Cannot connect to proxy.', NewConnectionError('refused'))"), NOT_FOUND], "HTTPS_PROXY"),
        ([retrying("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))"), NOT_FOUND], "PIP_CERT"),
        (["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"], "disk is full"),
        ([NOT_FOUND], "said is above"),
        (["ERROR: Could not find a version (from versions: none)", NOT_FOUND], "or there is no connection to it"),
        ([retrying("RemoteDisconnected", left=4), "Collecting x", "ERROR: hashes do not match"], "said is above"),
    ],
)
def test_a_failed_install_says_its_cause(output: list[str], sentence: str) -> None:
    why = why_pip_failed(output, "requirements.txt")
    assert sentence in why
    assert "he same command tries again." in why
    quoted = sentence == "said is above"
    assert (output[-1] in why) is quoted, "pip's own words are shown only where they are the best there is"


def test_pip_without_a_connection_says_that_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real pip: what it says differs from version to version."""
    with listen(0) as nobody:
        port = port_of(nobody)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    lock = tmp_path / "requirements.txt"
    lock.write_text("databricks-agent-has-no-such-package==1\n")
    said: list[str] = []
    with pytest.raises(PipError, match="no connection to the package index"):
        install_lock(Path(sys.executable), lock, "requirements.txt", 1, said.append)
    assert said == ["Installing requirements.txt, about 1 packages; this happens once ..."]
