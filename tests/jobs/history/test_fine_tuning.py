"""Fine-tuning through the real openai package, against a service that answers as Azure OpenAI does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from app.databricks.workspace_errors import CredentialError
from app.jobs.history import fine_tuning
from app.jobs.history.fine_tuning import KNOWN_TUNABLE_MODELS, FineTuning, FineTuningError
from app.jobs.history.history_export import to_json
from app.jobs.history.training_data import prepare_training_data
from tests.fakes.fine_tuning_service import KEY, TUNABLE, FineTuningService, fine_tuning_service
from tests.jobs.history.sample_records import a_record


@pytest.fixture
async def service() -> AsyncIterator[FineTuningService]:
    async with fine_tuning_service() as found:
        yield found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "history.json").write_text(to_json([a_record(run, outcome="succeeded") for run in range(12)]))
    return prepare_training_data(tmp_path / "history.json", tmp_path / "training_data.jsonl").path


async def _no_sleep(_: float) -> None:
    await asyncio.sleep(0)


def tuning(service: FineTuningService, key: str = KEY, training_type: str = "GlobalStandard") -> FineTuning:
    def client() -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=service.url, api_key=key, max_retries=2)

    return FineTuning(client, training_type=training_type, sleep=_no_sleep)


async def test_the_data_is_uploaded_and_a_supervised_job_begun_once_the_service_has_read_it(
    service: FineTuningService, data: Path
) -> None:
    job_id = await tuning(service).start_async(data, TUNABLE, "error-handler-v1")
    [job] = service.jobs.values()
    [created] = service.created
    assert job_id == job["id"]
    assert service.contents[job["training_file"]] == await asyncio.to_thread(data.read_bytes)
    assert created == {
        "model": TUNABLE,
        "training_file": job["training_file"],
        "method": {"type": "supervised", "supervised": {"hyperparameters": {}}},
        "suffix": "error-handler-v1",
        "trainingType": "GlobalStandard",
    }


@pytest.mark.parametrize("name", ["gpt-4", "gpt-4-0613", " gpt-4 ", "GPT-4.1-2025-04-14"])
async def test_a_model_that_cannot_be_tuned_reaches_the_service_unchanged_and_is_answered_with_those_that_can(
    service: FineTuningService, data: Path, name: str
) -> None:
    with pytest.raises(FineTuningError) as refused:
        await tuning(service).start_async(data, name)
    assert [each["model"] for each in service.created] == [name]
    assert str(refused.value) == (
        f"{name.strip()} cannot be tuned here: The specified base model does not support fine-tuning. "
        "Models that can be tuned: gpt-4.1-2025-04-14, gpt-4.1-mini-2025-04-14."
    )
    assert service.files == {}


async def test_a_service_that_does_not_say_which_models_can_be_tuned_is_answered_with_those_that_are_known(
    service: FineTuningService, data: Path
) -> None:
    service.lists_capabilities = False
    with pytest.raises(FineTuningError) as refused:
        await tuning(service).start_async(data, "gpt-4")
    assert str(refused.value).endswith(f"Models that can be tuned: {', '.join(KNOWN_TUNABLE_MODELS)}.")


async def test_an_answer_that_is_lost_begins_no_second_job(service: FineTuningService, data: Path) -> None:
    service.lost_answers = 1
    job_id = await tuning(service).start_async(data, TUNABLE)
    assert list(service.jobs) == [job_id]
    assert len(service.created) == 1


async def test_a_service_that_is_not_available_is_one_sentence_and_keeps_no_data(
    service: FineTuningService, data: Path
) -> None:
    service.unavailable = 1
    with pytest.raises(FineTuningError, match=r"The service refused \(503\): Try again later\."):
        await tuning(service).start_async(data, TUNABLE)
    assert (service.jobs, service.files) == ({}, {})


async def test_data_that_the_service_cannot_use_is_said_with_its_reason(service: FineTuningService, data: Path) -> None:
    service.file_error = "The fine-tuning file contains unsafe content."
    with pytest.raises(FineTuningError, match="cannot use the training data: The fine-tuning file contains unsafe"):
        await tuning(service).start_async(data, TUNABLE)
    assert service.created == []


async def test_data_that_is_never_read_is_given_up(
    service: FineTuningService, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuning, "_MAX_POLLS", 5)
    service.polls_until_processed = 10**9
    with pytest.raises(FineTuningError, match="has not read the training data within ten minutes"):
        await tuning(service).start_async(data, TUNABLE)


@pytest.mark.parametrize(
    ("lines", "suffix", "sentence"),
    [(9, "v1", "has 9 examples"), (12, "v1.1", "no dots"), (12, "v" * 65, "at most 64"), (None, "", "cannot be read")],
)
async def test_what_the_service_would_refuse_is_not_sent(
    service: FineTuningService, tmp_path: Path, lines: int | None, suffix: str, sentence: str
) -> None:
    if lines is not None:
        chat = '{"messages": [{"role": "assistant", "content": "a"}]}\n'
        (tmp_path / "t.jsonl").write_text(chat * lines, encoding="utf-8-sig")
    with pytest.raises(FineTuningError, match=sentence):
        await tuning(service).start_async(tmp_path / "t.jsonl", TUNABLE, suffix)
    assert service.requests == []


async def test_a_wrong_key_is_one_sentence(service: FineTuningService, data: Path) -> None:
    with pytest.raises(FineTuningError, match="does not allow it; training needs the role Foundry User"):
        await tuning(service, key="wrong").start_async(data, TUNABLE)


async def test_an_identity_without_a_token_is_one_sentence(service: FineTuningService) -> None:
    async def token() -> str:
        raise CredentialError("there is no managed identity here")

    unreachable = FineTuning(lambda: openai.AsyncOpenAI(base_url=service.url, api_key=token))
    with pytest.raises(FineTuningError, match="could not be signed in to: there is no managed identity here"):
        await unreachable.status_async("ftjob-1")


async def test_a_service_that_cannot_be_reached_is_one_sentence(service: FineTuningService) -> None:
    service.url = "http://127.0.0.1:9/openai/v1/"
    unreachable = FineTuning(lambda: openai.AsyncOpenAI(base_url=service.url, api_key=KEY, max_retries=0))
    with pytest.raises(FineTuningError, match="could not be reached"):
        await unreachable.status_async("ftjob-1")


async def test_the_status_is_followed_to_its_end_in_flat_rows(service: FineTuningService, data: Path) -> None:
    service_tuning = tuning(service)
    job_id = await service_tuning.start_async(data, TUNABLE)
    begun = await service_tuning.status_async(job_id)
    assert begun == {
        "id": job_id,
        "status": "queued",
        "model": TUNABLE,
        "fine_tuned_model": "",
        "trained_tokens": 0,
        "error": "",
        "last_event": "Step 10: training loss=0.42",
        "message": "The training goes on.",
    }
    service.end(job_id, "succeeded", fine_tuned_model="gpt-4.1.ft-error-handler-v1", trained_tokens=1234)
    ended = await service_tuning.status_async(job_id)
    assert (ended["status"], ended["trained_tokens"]) == ("succeeded", 1234)
    assert "Deploy gpt-4.1.ft-error-handler-v1" in str(ended["message"])
    service.end(job_id, "failed", error={"code": "x", "message": "Training data is too uniform.", "param": None})
    assert "Training data is too uniform." in str((await service_tuning.status_async(job_id))["message"])


async def test_a_job_is_cancelled_and_one_that_has_ended_stays_as_it_ended(
    service: FineTuningService, data: Path
) -> None:
    service_tuning = tuning(service)
    first, second = [await service_tuning.start_async(data, TUNABLE) for _ in range(2)]
    service.end(second, "succeeded")
    assert (await service_tuning.cancel_async(first))["status"] == "cancelled"
    assert (await service_tuning.cancel_async(first))["status"] == "cancelled"
    assert (await service_tuning.cancel_async(second))["status"] == "succeeded"


@pytest.mark.parametrize("job_id", ["", "../files", "a/b", "ftjob-1?x=1", "a" * 300])
async def test_what_is_no_id_of_a_job_is_not_sent(service: FineTuningService, job_id: str) -> None:
    with pytest.raises(FineTuningError, match="no id of a fine-tuning job"):
        await tuning(service).status_async(job_id)
    assert service.requests == []


async def test_a_job_that_does_not_exist_is_one_sentence(service: FineTuningService) -> None:
    with pytest.raises(FineTuningError, match="does not know it: The fine-tuning job does not exist"):
        await tuning(service).status_async("ftjob-1")


async def test_everything_is_there_without_an_event_loop_too(service: FineTuningService, data: Path) -> None:
    def as_a_notebook_does() -> tuple[str, str]:
        service_tuning = tuning(service)
        job_id = service_tuning.start(data, TUNABLE)
        return str(service_tuning.status(job_id)["status"]), str(service_tuning.cancel(job_id)["status"])

    assert await asyncio.to_thread(as_a_notebook_does) == ("queued", "cancelled")
