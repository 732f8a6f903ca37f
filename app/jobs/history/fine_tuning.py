"""Fine-tunes a model on training data of the history, with the official openai client.

https://learn.microsoft.com/azure/ai-foundry/openai/how-to/fine-tuning
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.common.json_values import items, mapping, text
from app.common.log_text import one_line
from app.databricks.workspace_errors import CredentialError
from app.jobs.history.training_data import TrainingDataError, check_training_file
from app.jobs.synchronous import run_synchronously
from app.models.openai_import import import_openai
from app.tools.redaction import without_secrets

if TYPE_CHECKING:
    import openai

KNOWN_TUNABLE_MODELS: Final = (
    "gpt-4.1-2025-04-14",
    "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano-2025-04-14",
    "gpt-4o-2024-08-06",
    "gpt-4o-mini-2024-07-18",
)
"""Where the service does not say which."""

_REQUEST_SECONDS = 60.0
_UPLOAD_SECONDS = 900.0
_POLL_SECONDS = 2.0
_MAX_POLLS = 300
_MAX_NAMED_MODELS = 12
_MAX_SUFFIX_CHARACTERS = 64
_MAX_EVENTS = 20
_JOB_ID = re.compile(r"[A-Za-z0-9][\w.:-]{0,199}", re.ASCII)
_STATUSES = {"pending": "queued", "notRunning": "queued", "canceled": "cancelled"}
ENDED: Final = frozenset(["succeeded", "failed", "cancelled"])

Status = dict[str, str | int]


class FineTuningError(Exception):
    """The service refused, could not be reached, or what was asked cannot be; its text is a sentence for a person."""


class FineTuning:
    """Every method has a synchronous one beside it, which also works where an event loop runs. All raise
    `FineTuningError`.

    `open_client` makes a client for one call, since a client belongs to its event loop. `training_type` is Azure's:
    Standard, GlobalStandard or developerTier; empty for services that do not know it.
    """

    def __init__(
        self,
        open_client: Callable[[], openai.AsyncOpenAI],
        *,
        training_type: str = "GlobalStandard",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._open_client = open_client
        self._training_type = training_type
        self._sleep = sleep

    async def start_async(self, training_data_path: str | Path, model_name: str, suffix: str = "") -> str:
        """Uploads the data and begins a supervised job; returns its id. The model's name is sent as it is."""
        if "." in suffix or len(suffix) > _MAX_SUFFIX_CHARACTERS:
            raise FineTuningError(f"A suffix has no dots and at most {_MAX_SUFFIX_CHARACTERS} characters.")
        path = Path(training_data_path)
        try:
            await asyncio.to_thread(check_training_file, path)
        except TrainingDataError as error:
            raise FineTuningError(str(error)) from error
        async with self._client() as client:
            file_id = await self._upload(client, path)
            try:
                return await self._create(client, file_id, model_name, suffix)
            except FineTuningError:
                # Nobody needs it any more, and it holds what jobs said.
                with suppress(FineTuningError), _refusals():
                    await client.files.delete(file_id, timeout=_REQUEST_SECONDS)
                raise

    async def status_async(self, job_id: str) -> Status:
        """Strings and integers alone: `id`, `status` (validating_files, queued, running, succeeded, failed, cancelled),
        `model`, `fine_tuned_model`, `trained_tokens`, `error`, `last_event`, and `message`, a sentence.
        """
        async with self._client() as client:
            job = await self._retrieve(client, job_id)
            events: Any = None
            with suppress(FineTuningError), _refusals():
                events = await client.fine_tuning.jobs.list_events(job_id, limit=_MAX_EVENTS, timeout=_REQUEST_SECONDS)
            return _status(job, _newest_event(events))

    async def cancel_async(self, job_id: str) -> Status:
        """The job as it is then; one that has ended stays as it ended."""
        async with self._client() as client:
            if _status(job := await self._retrieve(client, job_id))["status"] in ENDED:
                return _status(job)
            with _refusals():
                return _status(await client.fine_tuning.jobs.cancel(job_id, timeout=_REQUEST_SECONDS))

    def start(self, training_data_path: str | Path, model_name: str, suffix: str = "") -> str:
        return run_synchronously(lambda: self.start_async(training_data_path, model_name, suffix))

    def status(self, job_id: str) -> Status:
        return run_synchronously(lambda: self.status_async(job_id))

    def cancel(self, job_id: str) -> Status:
        return run_synchronously(lambda: self.cancel_async(job_id))

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[openai.AsyncOpenAI]:
        await asyncio.to_thread(import_openai)
        try:
            async with self._open_client() as client:
                yield client
        except CredentialError as error:
            raise FineTuningError(f"The service could not be signed in to: {error}") from error

    async def _upload(self, client: openai.AsyncOpenAI, path: Path) -> str:
        """The id of the file, once the service has read it: Azure refuses a job before that."""
        with _refusals():
            content = await asyncio.to_thread(path.read_bytes)
            named = (path.name, content, "application/jsonl")
            file: Any = await client.files.create(file=named, purpose="fine-tune", timeout=_UPLOAD_SECONDS)
            for _ in range(_MAX_POLLS):
                if file.status == "processed":
                    return str(file.id)
                if file.status in {"error", "failed", "deleted"}:
                    details = _shown(getattr(file, "status_details", None) or _error_text(file) or file.status)
                    raise FineTuningError(f"The service cannot use the training data: {details}")
                await self._sleep(_POLL_SECONDS)
                file = await client.files.retrieve(file.id, timeout=_REQUEST_SECONDS)
        raise FineTuningError("The service has not read the training data within ten minutes; please try again later.")

    async def _create(self, client: openai.AsyncOpenAI, file_id: str, model_name: str, suffix: str) -> str:
        openai = import_openai()
        extra: dict[str, Any] = {"trainingType": self._training_type} if self._training_type else {}
        try:
            # Sent again after a lost answer, it would begin a second job.
            job = await client.with_options(max_retries=0).fine_tuning.jobs.create(
                model=model_name,
                training_file=file_id,
                method={"type": "supervised", "supervised": {"hyperparameters": {}}},
                suffix=suffix or openai.omit,
                extra_body=extra or None,
                timeout=_REQUEST_SECONDS,
            )
        except (openai.BadRequestError, openai.NotFoundError, openai.UnprocessableEntityError) as error:
            if not _is_about_model(error):
                raise FineTuningError(f"The service refused the job: {_reason(error)}") from error
            models = ", ".join(await _tunable_models(client))
            shown = one_line(model_name)[:100]
            raise FineTuningError(
                f"{shown} cannot be tuned here: {_reason(error)} Models that can be tuned: {models}."
            ) from error
        except (openai.APIConnectionError, openai.InternalServerError) as error:
            if found := await _job_of_file(client, file_id):
                return found
            raise FineTuningError(_sentence(error)) from error
        except openai.OpenAIError as error:
            raise FineTuningError(_sentence(error)) from error
        return str(job.id)

    async def _retrieve(self, client: openai.AsyncOpenAI, job_id: str) -> Any:  # noqa: ANN401 - the service's
        if not _JOB_ID.fullmatch(job_id):
            raise FineTuningError("That is no id of a fine-tuning job.")
        with _refusals():
            return await client.fine_tuning.jobs.retrieve(job_id, timeout=_REQUEST_SECONDS)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except import_openai().OpenAIError as error:
        raise FineTuningError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    openai = import_openai()
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"The service does not allow it; training needs the role Foundry User there: {_reason(error)}"
    if isinstance(error, openai.NotFoundError):
        return f"The service does not know it: {_reason(error)}"
    if isinstance(error, openai.RateLimitError):
        return f"The service takes no more at present: {_reason(error)}"
    if isinstance(error, openai.APIStatusError):
        return f"The service refused ({error.status_code}): {_reason(error)}"
    return "The service could not be reached, or did not answer in time."


def _reason(error: Exception) -> str:
    body = mapping(getattr(error, "body", None))
    said = text(mapping(body.get("error")).get("message")) or text(body.get("message")) or str(error)
    reason = _shown(said)
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."


def _is_about_model(error: Exception) -> bool:
    told = " ".join(text(getattr(error, name, None)) for name in ("code", "param", "message")).casefold()
    return "model" in told or "deployment" in told


async def _tunable_models(client: openai.AsyncOpenAI) -> tuple[str, ...]:
    """Azure says of each model whether it can be tuned; others do not."""
    found = []
    with suppress(FineTuningError), _refusals():
        async with asyncio.timeout(_REQUEST_SECONDS):
            page = await client.models.list(timeout=_REQUEST_SECONDS)
        for model in page.data:
            capabilities = mapping((model.model_extra or {}).get("capabilities"))
            if capabilities.get("fine_tune") is True:
                found.append(one_line(text(model.id))[:100])
    return tuple(dict.fromkeys(sorted(found)))[:_MAX_NAMED_MODELS] or KNOWN_TUNABLE_MODELS


async def _job_of_file(client: openai.AsyncOpenAI, file_id: str) -> str:
    """Of an answer that was lost. Empty where there is none."""
    with suppress(FineTuningError), _refusals():
        page = await client.fine_tuning.jobs.list(limit=20, timeout=_REQUEST_SECONDS)
        for job in page.data:
            if job.training_file == file_id:
                return str(job.id)
    return ""


def _status(job: Any, last_event: str = "") -> Status:  # noqa: ANN401 - the service's, whatever it leaves out
    raw = text(getattr(job, "status", None))
    status = _STATUSES.get(raw, raw)
    tuned = _shown(getattr(job, "fine_tuned_model", None))
    trained = getattr(job, "trained_tokens", None)
    error = _error_text(job)
    return {
        "id": _shown(getattr(job, "id", None)),
        "status": status,
        "model": _shown(getattr(job, "model", None)),
        "fine_tuned_model": tuned,
        "trained_tokens": trained if isinstance(trained, int) else 0,
        "error": error,
        "last_event": last_event,
        "message": _message(status, tuned, error),
    }


def _message(status: str, tuned: str, error: str) -> str:
    match status:
        case "succeeded":
            return f"Deploy {tuned or 'the tuned model'}, then put the deployment's name into AZURE_OPENAI_DEPLOYMENT."
        case "failed":
            return f"The training failed: {error or 'the service does not say why.'}"
        case "cancelled":
            return "The training was cancelled."
        case _:
            return "The training goes on."


def _newest_event(page: Any) -> str:  # noqa: ANN401 - the service's
    events = items(getattr(page, "data", None))
    newest = max(events, key=lambda event: getattr(event, "created_at", None) or 0, default=None)
    return _shown(getattr(newest, "message", None))


def _error_text(answer: Any) -> str:  # noqa: ANN401 - the service's
    error = getattr(answer, "error", None)
    if isinstance(error, Mapping):
        return _shown(error.get("message"))
    return _shown(getattr(error, "message", None))


def _shown(value: object) -> str:
    return one_line(without_secrets(text(value)[:2_000]))[:500]
