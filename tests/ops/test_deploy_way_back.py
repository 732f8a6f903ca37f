"""After every deployment there is a way back, and the person who needs it is told which."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.deploy.__main__ import main
from ops.package.archive import read_build
from tests.fakes.azure import FakeAzure
from tests.fakes.provisioned import Clock, make_package, provision
from tests.fakes.provisioned import azure as azure
from tests.fakes.provisioned import flex as flex
from tests.fakes.provisioned import root as root

pytestmark = pytest.mark.slow


def deploy(root: Path, text: str) -> str:
    build = make_package(root, text)
    assert main([], root) == 0
    return build


def fails_to_start(azure: FakeAzure) -> None:
    """A restart no longer brings the package to life."""
    azure.fail({"functionapp restart": (0, "")})


def test_what_ran_before_is_named_with_the_command_that_brings_it_back(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    old = deploy(root, "old")
    make_package(root, "new")
    fails_to_start(azure)
    assert main(["--wait", "0"], root) == 3
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"Build {old} ran before. To bring it back: python3 dev.py deploy --build {old}"
    azure.fail({})
    assert main(["--build", old], root) == 0
    assert read_build(azure.running).build == old


def test_a_new_build_that_answers_and_is_not_well_is_told_with_the_way_back(
    root: Path, azure: FakeAzure, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = deploy(root, "old")
    new = make_package(root, "new")
    well = azure.health

    def health() -> tuple[int, bytes]:
        status, said = well()
        return (503, said) if new in said.decode() else (status, said)

    monkeypatch.setattr(azure, "health", health)
    assert main(["--wait", "0"], root) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"Build {new} runs, but ")
    assert said.endswith(f"python3 dev.py deploy --build {old}\n")


def test_the_way_back_is_that_of_the_environment(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "env" / ".env.dev").rename(root / "env" / ".env.prod")
    make_package(root, "old")
    assert main(["--env", "prod"], root) == 0
    old = read_build(azure.running).build
    make_package(root, "new")
    fails_to_start(azure)
    assert main(["--env", "prod", "--wait", "0"], root) == 3
    assert capsys.readouterr().err.endswith(f": python3 dev.py deploy --env prod --build {old}\n")


def test_a_running_build_that_storage_has_deleted_is_kept_again_before_it_is_replaced(
    root: Path, azure: FakeAzure
) -> None:
    old = deploy(root, "old")
    (azure.state / "blobs" / f"agent-{old}.zip").unlink()
    new = deploy(root, "new")
    assert azure.blobs == sorted([f"agent-{old}.zip", f"agent-{new}.zip", "agent.zip"])
    assert read_build(azure.state / "blobs" / f"agent-{old}.zip").build == old
    assert main(["--build", old], root) == 0


def test_on_flex_it_is_kept_again_from_the_package_that_flex_runs(root: Path, flex: FakeAzure) -> None:
    old = deploy(root, "old")
    (flex.state / "blobs" / f"agent-{old}.zip").unlink()
    deploy(root, "new")
    assert read_build(flex.state / "blobs" / f"agent-{old}.zip").build == old


def test_going_back_keeps_what_is_left_too(root: Path, azure: FakeAzure) -> None:
    old = deploy(root, "old")
    new = deploy(root, "new")
    (azure.state / "blobs" / f"agent-{new}.zip").unlink()
    assert main(["--build", old], root) == 0
    assert read_build(azure.state / "blobs" / f"agent-{new}.zip").build == new


@pytest.mark.parametrize("current", [None, b"half a zip"])
def test_a_running_build_that_cannot_be_kept_is_said_and_does_not_stop_the_deployment(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str], current: bytes | None
) -> None:
    old = deploy(root, "old")
    for name in (f"agent-{old}.zip", "agent.zip"):
        (azure.state / "blobs" / name).unlink()
    if current:
        (azure.state / "blobs" / "agent.zip").write_bytes(current)
    make_package(root, "new")
    fails_to_start(azure)
    assert main(["--wait", "0"], root) == 3
    out, err = capsys.readouterr()
    assert f"Build {old}, which runs now, is not kept in storage and cannot be brought back: " in out
    assert err.splitlines()[-1] == (
        f"Build {old} ran before and is not kept. "
        "python3 dev.py deploy --builds lists the builds that can be brought back."
    )


def test_another_build_in_the_place_of_the_running_one_is_not_kept_under_its_name(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    old = deploy(root, "old")
    other = make_package(root, "put there by hand")
    (azure.state / "blobs" / "agent.zip").write_bytes((root / ".data" / "package" / "agent.zip").read_bytes())
    (azure.state / "blobs" / f"agent-{old}.zip").unlink()
    deploy(root, "new")
    assert f"agent-{old}.zip" not in azure.blobs
    assert f"cannot be brought back: agent.zip is build {other}." in capsys.readouterr().out


def test_without_an_answer_before_the_builds_are_pointed_to(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "first")
    fails_to_start(azure)
    assert main(["--wait", "0"], root) == 3
    assert capsys.readouterr().err.endswith(
        "python3 dev.py deploy --builds lists the builds that can be brought back.\n"
    )


def test_a_build_for_another_python_is_not_brought_back(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    provision(root, PYTHON_VERSION="3.13")
    old = make_package(root, "old", python="3.13")
    assert main([], root) == 0
    provision(root, PYTHON_VERSION="3.12")
    new = deploy(root, "new")
    capsys.readouterr()
    assert main(["--build", old], root) == 1
    assert capsys.readouterr().err == (
        f"Build {old} is made for Python 3.13, and the Function App runs 3.12 (PYTHON_VERSION): choose another build "
        "(python3 dev.py deploy --builds), or provision with PYTHON_VERSION=3.13 first\n"
    )
    assert read_build(azure.state / "blobs" / "agent.zip").build == new
    assert read_build(azure.running).build == new


NOT_STALLED = [
    "ERROR: AuthorizationPermissionMismatch",
    "ERROR: (AuthorizationFailure) This request is not authorized to perform this operation.",
    "ERROR: You do not have the required permissions needed to perform this operation.",
    "ERROR: The request may be blocked by network rules of storage account.",
]


@pytest.mark.parametrize("said", NOT_STALLED)
def test_a_role_that_is_new_is_waited_for(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    build = make_package(root, "new")
    azure.fail({"storage blob upload": (1, said)})
    clock = Clock()
    waiting = clock.waiting

    def pause(seconds: float) -> None:
        clock.pause(seconds)
        if clock.pauses == 3:
            azure.fail({})

    assert main([], root, type(waiting)(clock.time, pause)) == 0
    out = capsys.readouterr().out
    assert (
        out.count("A role that provision has just assigned takes minutes to work: trying again for 5 minutes ...") == 1
    )
    assert clock.now == 45
    assert read_build(azure.running).build == build


def test_a_role_that_never_comes_is_waited_for_five_minutes(
    root: Path, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(root, "new")
    azure.fail({"storage blob upload": (1, NOT_STALLED[0])})
    clock = Clock()
    assert main([], root, clock.waiting) == 1
    assert clock.now == 300
    assert "needs the role Storage Blob Data Contributor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("storage blob upload", "ERROR: The specified container does not exist. ErrorCode:ContainerNotFound"),
        ("storage blob upload", "ERROR: Please run 'az login' to setup account."),
        ("functionapp restart", "ERROR: (AuthorizationFailed) The client does not have authorization."),
    ],
)
def test_what_no_waiting_mends_is_said_at_once(root: Path, azure: FakeAzure, command: str, said: str) -> None:
    make_package(root, "new")
    azure.fail({command: (1, said)})
    clock = Clock()
    assert main([], root, clock.waiting) == 1
    assert clock.now == 0
