"""Azure as `python dev.py deploy` meets it: an `az` on the PATH, the bot's health, and a Flex app's deployment site."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import ssl
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "a token for the deployment site"

AZ = """
import json, os, shutil, sys
from pathlib import Path

state = Path(os.environ["FAKE_AZURE"])
arguments = sys.argv[1:]
with (state / "calls").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
failures = json.loads((state / "failures").read_text())
for command, (code, said) in failures.items():
    if " ".join(arguments).startswith(command):
        sys.stderr.write(said)
        sys.exit(code)
for command, answer in json.loads((state / "answers").read_text()).items():
    if " ".join(arguments).startswith(command):
        sys.stdout.write(answer)
        sys.exit()
options = {key: value for key, value in zip(arguments, arguments[1:]) if key.startswith("--")}
command = " ".join(arguments[:next(i for i, argument in enumerate(arguments) if argument.startswith("--"))])
blobs = state / "blobs"
if command == "account show":
    print(json.dumps({"id": options["--subscription"]}))
elif command == "account get-access-token":
    print(json.dumps({"accessToken": os.environ["FAKE_TOKEN"], "tokenType": "Bearer"}))
elif command == "storage blob upload":
    shutil.copy(options["--file"], blobs / options["--name"])
    print("{}")
elif command == "storage blob download":
    if not (blobs / options["--name"]).exists():
        sys.stderr.write("ERROR: The specified blob does not exist. ErrorCode:BlobNotFound")
        sys.exit(3)
    shutil.copy(blobs / options["--name"], options["--file"])
    print("{}")
elif command == "storage blob list":
    names = sorted(path.name for path in blobs.iterdir() if path.name.startswith(options["--prefix"]))
    print(json.dumps([{"name": name, "properties": {"lastModified": f"2026-01-0{1 + n}T00:00:00+00:00"}}
                      for n, name in enumerate(names)]))
elif command == "functionapp restart":
    shutil.copy(blobs / "agent.zip", state / "running.zip")
elif command == "deployment group create":
    assert Path(options["--template-file"]).is_file()
    shutil.copy(options["--parameters"].removeprefix("@"), state / "parameters.json")
    print(json.dumps({"properties": {"outputs": {"boT_ID": {"type": "String", "value": "the-bot"}}}}))
elif command == "rest" and options["--method"] == "get":
    print((state / "site").read_text())
elif command == "rest":
    pass
else:
    sys.stderr.write(f"ERROR: '{command}' is misspelled or not recognized by the system.")
    sys.exit(2)
"""


class FakeAzure:
    """An `az` with its storage, the app that it deploys to, and that app's health."""

    def __init__(self, folder: Path) -> None:
        self.state = folder
        self.running = folder / "running.zip"
        self.health_answers = True
        self.deployment: list[tuple[int, Any]] = [(200, {"status": 4})]
        self.publish_answer = (202, json.dumps("d-1"))
        self.published: list[tuple[str, dict[str, str]]] = []
        (folder / "blobs").mkdir(parents=True)
        self.fail({})
        self.answer({})

    def fail(self, failures: dict[str, tuple[int, str]]) -> None:
        """`failures` maps the beginning of a command to its exit code and what it says on stderr."""
        (self.state / "failures").write_text(json.dumps(failures))

    def answer(self, answers: dict[str, str]) -> None:
        """`answers` maps the beginning of a command to what it prints instead of doing anything."""
        (self.state / "answers").write_text(json.dumps(answers))

    @property
    def calls(self) -> list[list[str]]:
        file = self.state / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def blobs(self) -> list[str]:
        return sorted(path.name for path in (self.state / "blobs").iterdir())

    def install(self, folder: Path) -> None:
        """Puts an `az` into `folder`, as the Azure CLI is there: a script, on Windows az.cmd."""
        folder.mkdir()
        (folder / "fake_az.py").write_text(AZ)
        if os.name == "nt":
            (folder / "az.cmd").write_text(f'@"{sys.executable}" "{folder / "fake_az.py"}" %*\n')
        else:
            (folder / "az").write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{folder / "fake_az.py"}" "$@"\n')
            (folder / "az").chmod(0o755)

    def serve_from(self, host: str) -> None:
        """What Resource Manager says of the app: `host` is where it takes packages."""
        states = [{"name": "app.azurewebsites.net", "hostType": "Standard"}, {"name": host, "hostType": "Repository"}]
        (self.state / "site").write_text(json.dumps({"properties": {"hostNameSslStates": states}}))

    def health(self) -> tuple[int, bytes]:
        if not self.health_answers or not self.running.exists():
            return 502, b"<html>Bad gateway</html>"
        with zipfile.ZipFile(self.running) as archive:
            said = json.loads(archive.read("build.json"))
        return 200, json.dumps({"status": "ok", **said}).encode()


@contextmanager
def serving(azure: FakeAzure, certificate: Path | None = None) -> Iterator[str]:
    """The bot's health over HTTP, or with a certificate the deployment site over HTTPS; yields host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if certificate is None:
                self._answer(*azure.health())
            else:
                status, body = azure.deployment[0] if len(azure.deployment) == 1 else azure.deployment.pop(0)
                self._answer(status, json.dumps(body).encode())

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            azure.published.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status, said = azure.publish_answer
            if status in (200, 202):
                azure.running.write_bytes(content)
                (azure.state / "blobs" / "released-package.zip").write_bytes(content)
            self._answer(status, said.encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def write_certificates(authority: Path, server: Path) -> None:
    """A certificate authority, and a certificate for 127.0.0.1 that it has signed, with the key."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    root = (
        _certificate("authority", "authority", authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    leaf = (
        _certificate("127.0.0.1", "authority", server_key.public_key())
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    authority.write_bytes(root.public_bytes(pem))
    key = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    server.write_bytes(leaf.public_bytes(pem) + key)


def _certificate(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    return (
        x509.CertificateBuilder(names[1], names[0], key, x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
