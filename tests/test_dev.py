"""dev.py: any machine, no set-up step."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import dev
from ops.package.dependencies import read_lock
from ops.virtual_environment import PYTHON_VERSION, SetupError, VirtualEnvironment, packages_in
from tests.fakes.packaging import wheel

ROOT = Path(__file__).resolve().parents[1]
SOURCE = (ROOT / "dev.py").read_text(encoding="utf-8")
NEEDED_BY_DEV = (
    "app/local/local_settings.py",
    "ops/command.py",
    "ops/pip_install.py",
    "ops/uv_install.py",
    "ops/virtual_environment.py",
)
LOCKS = (dev.RUNTIME_LOCK, dev.AGENT_SERVER_LOCK, dev.DEVELOPMENT_LOCK, dev.TERMINAL_LOCK, dev.LOCAL_MODEL_LOCK)
COMMANDS = (
    "run",
    "chat",
    "doctor",
    "test",
    "check",
    "bench",
    "evals",
    "package",
    "deploy",
    "preflight",
    "lock",
    "docs",
)


def test_an_older_python_can_read_it_and_is_told_which_one_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ast.parse(SOURCE, feature_version=(3, 8))
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    with pytest.raises(SystemExit, match=r"dev\.py needs Python 3\.11 or later; this is 3\.8, at "):
        exec(compile(SOURCE, "dev.py", "exec", dont_inherit=True), {"__name__": "__main__", "__file__": "dev.py"})


def test_it_needs_the_standard_library_alone() -> None:
    imported = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert {name.split(".")[0] for name in imported} - sys.stdlib_module_names == {"app", "ops"}
    for file in NEEDED_BY_DEV:
        own = list(ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))))
        modules = {alias.name for node in own if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module or "" for node in own if isinstance(node, ast.ImportFrom)}
        ours = {name.removesuffix(".py").replace("/", ".") for name in NEEDED_BY_DEV}
        assert {name.split(".")[0] for name in modules - ours} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("arguments", "code", "first"),
    [
        ([], 2, "python3 dev.py COMMAND"),
        (["--help"], 0, "python3 dev.py COMMAND"),
        (["rum"], 2, "There is no command 'rum'."),
    ],
)
def test_an_unknown_command_shows_the_commands(
    arguments: list[str], code: int, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.main(arguments) == code
    out, err = capsys.readouterr()
    said = err if code else out
    assert out + err == said, "help that was asked for is output, a mistake is not"
    assert said.startswith(first)
    assert all(f"\n  {command} " in said for command in COMMANDS)


@pytest.mark.parametrize("command", re.findall(r"^  ([a-z-]+)", dev.HELP, re.MULTILINE))
def test_every_command_of_the_help_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    def called(environment: VirtualEnvironment, arguments: list[str]) -> int:
        return 47

    called.__name__ = command.replace("-", "_")
    monkeypatch.setattr(dev, called.__name__, called)
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    assert dev.main([command]) == 47


def venv_of(folder: Path, version: str) -> None:
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}.1\n"
    )


@pytest.mark.parametrize(
    ("present", "chosen"), [(None, ".venv"), (PYTHON_VERSION, ".venv"), ("3.9", f".venv-{PYTHON_VERSION}")]
)
def test_each_python_version_has_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: str | None, chosen: str
) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    if present:
        venv_of(tmp_path / ".venv", present)
    assert VirtualEnvironment.find(tmp_path).folder == tmp_path / chosen


class Installation(VirtualEnvironment):
    """Records the installs instead of making them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.installed: list[str] = []
        self.interrupt: Callable[[], None] = lambda: None
        self.bin.mkdir(parents=True, exist_ok=True)
        self.python.touch()

    def create(self) -> None:
        pass

    def _install(self, lock: str, packages: int) -> None:
        self.installed.append(lock)
        self.interrupt()


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    (tmp_path / "app" / "local").mkdir(parents=True)
    (tmp_path / "agent_server").mkdir()
    for lock in LOCKS:
        (tmp_path / lock).write_text("package==1\n")
    return Installation(tmp_path / ".venv")


def test_what_is_installed_already_is_not_installed_again(installation: Installation) -> None:
    installation.install(dev.RUNTIME_LOCK, dev.LOCAL_MODEL_LOCK)
    installation.install(dev.RUNTIME_LOCK, dev.LOCAL_MODEL_LOCK)
    assert installation.installed == [dev.RUNTIME_LOCK, dev.LOCAL_MODEL_LOCK]


def test_a_changed_lock_is_installed_again(installation: Installation, tmp_path: Path) -> None:
    installation.install(dev.RUNTIME_LOCK)
    (tmp_path / dev.RUNTIME_LOCK).write_text("package==2\n")
    installation.install(dev.RUNTIME_LOCK)
    assert len(installation.installed) == 2


@pytest.mark.parametrize("before", [False, True])
def test_an_interrupted_install_is_done_again(installation: Installation, tmp_path: Path, before: bool) -> None:
    if before:
        installation.install(dev.RUNTIME_LOCK)
        (tmp_path / dev.RUNTIME_LOCK).write_text("package==2\n")

    def interrupt() -> None:
        raise KeyboardInterrupt

    installation.interrupt = interrupt
    with pytest.raises(KeyboardInterrupt):
        installation.install(dev.RUNTIME_LOCK)
    (tmp_path / dev.RUNTIME_LOCK).write_text("package==1\n")
    installation.interrupt = lambda: None
    installation.installed.clear()
    installation.install(dev.RUNTIME_LOCK)
    assert installation.installed == [dev.RUNTIME_LOCK], "what the interrupted install left behind counts as whole"


@pytest.mark.parametrize(
    ("settings", "environment", "model"),
    [
        (None, {}, True),
        ('{"Values": {"DATABRICKS_BASE_URL": ""}}', {}, True),
        ('{"Values": {"DATABRICKS_BASE_URL": "https://workspace"}}', {}, False),
        (None, {"DATABRICKS_MODEL_NAME": "model"}, False),
    ],
)
def test_the_tiny_model_is_installed_only_where_no_workspace_is_configured(
    installation: Installation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str | None,
    environment: dict[str, str],
    model: bool,
) -> None:
    for name in ("DATABRICKS_BASE_URL", "DATABRICKS_MODEL_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if settings:
        (tmp_path / "local.settings.json").write_text(settings)
    became: list[tuple[str, ...]] = []

    def become(*command: str) -> int:
        became.append(command)
        return 0

    monkeypatch.setattr(installation, "become", become)
    assert dev.run(installation, ["--no-browser"]) == 0
    assert became == [("app.local.run", "--no-browser")]
    assert installation.installed == [dev.RUNTIME_LOCK, dev.TERMINAL_LOCK, *([dev.LOCAL_MODEL_LOCK] if model else [])]


def test_the_agent_server_needs_nothing_of_the_function_apps(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_MODEL_NAME", "model")
    monkeypatch.setattr(installation, "become", lambda *command: 0)
    assert dev.agent_server(installation, []) == 0
    assert installation.installed == [dev.AGENT_SERVER_LOCK]


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps people apart by their profiles")
def test_what_is_kept_here_is_readable_by_its_owner_only(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".data").mkdir(mode=0o755)
    monkeypatch.setattr(VirtualEnvironment, "find", lambda root: installation)
    monkeypatch.setattr(installation, "become", lambda *command: 0)
    assert dev.main(["doctor"]) == 0
    assert (tmp_path / ".data").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("codes", "result"),
    [((0, 0, 0), 0), ((1, 0, 0), 1), ((0, 2, 0), 2), ((0, 0, 1), 1), ((0, 5, 0), 0), ((5, 5, 5), 0), ((1, 5, 0), 1)],
)
def test_the_fast_tests_run_first_and_each_part_can_fail(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, ...], result: int
) -> None:
    ran: list[str] = []
    left = list(codes)

    def run(*command: object) -> int:
        ran.append(str(command[-1]))
        return left.pop(0)

    monkeypatch.setattr(installation, "run", run)
    assert dev.test(installation, []) == result
    assert ran == ["not slow", "slow and not alone and not proof", "alone and not proof"]


def test_the_long_proofs_run_when_all_is_asked_for(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(*command: object) -> int:
        ran.append(str(command[-1]))
        return 0

    monkeypatch.setattr(installation, "run", run)
    assert dev.test(installation, ["--all"]) == 0
    assert ran == ["not slow", "slow and not alone", "alone"]


def pins(lock: str) -> dict[str, set[str]]:
    """Package to its lines; one package can have a version for each range of Pythons."""
    found: dict[str, set[str]] = {}
    for requirement, _ in read_lock(ROOT / lock):
        found.setdefault(requirement.name, set()).add(str(requirement))
    return found


def versions(lock: str) -> dict[str, set[str]]:
    return {package: {line.split(";")[0] for line in lines} for package, lines in pins(lock).items()}


@pytest.mark.parametrize("lock", [dev.RUNTIME_LOCK, dev.AGENT_SERVER_LOCK, dev.TERMINAL_LOCK])
def test_tests_run_with_the_versions_that_people_get(lock: str) -> None:
    development = versions(dev.DEVELOPMENT_LOCK)
    for package, locked in versions(lock).items():
        assert locked == development.get(package), f"{package} differs: python dev.py lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_locked_to_its_files_and_to_no_registry(lock: str) -> None:
    locked = list(read_lock(ROOT / lock))
    assert locked
    assert [requirement.name for requirement, hashes in locked if not hashes] == []
    assert not re.search(r"://|--(extra-)?index-url|--find-links", (ROOT / lock).read_text(encoding="utf-8"))
    assert packages_in((ROOT / lock).read_text(encoding="utf-8")) == len(locked)


def test_a_package_is_not_installed_without_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "thing", "1", "py3-none-any", {"thing.py": ""})
    options = {"NO_INDEX": "1", "FIND_LINKS": tmp_path / "wheels", "TARGET": tmp_path / "target", "NO_CACHE_DIR": "1"}
    for name, value in options.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    (tmp_path / "lock.txt").write_text("thing==1\n")
    with pytest.raises(SetupError, match=r"pip could not install lock\.txt"):
        VirtualEnvironment(Path(sys.prefix))._install("lock.txt", 1)
    assert not (tmp_path / "target").exists()


def test_what_draws_on_a_terminal_is_not_deployed() -> None:
    assert "rich" in pins(dev.TERMINAL_LOCK)
    assert not pins(dev.TERMINAL_LOCK).keys() & pins(dev.RUNTIME_LOCK).keys()


def test_the_agent_server_and_the_function_app_are_locked_to_the_same_versions() -> None:
    function_app, agent_server = versions(dev.RUNTIME_LOCK), versions(dev.AGENT_SERVER_LOCK)
    for package in function_app.keys() & agent_server.keys():
        assert function_app[package] == agent_server[package]
    assert agent_server["mlflow"] == {"mlflow==3.17.2"}
    assert {"botbuilder-core", "azure-functions"}.isdisjoint(agent_server)


def test_the_local_models_lock_holds_what_pyproject_asks_for_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {each.partition("==")[0] for each in project["optional-dependencies"]["local-model"]}
    assert set(pins(dev.LOCAL_MODEL_LOCK)) == wanted


@pytest.mark.slow
def test_a_fresh_folder_gets_its_environment_and_runs_the_command_in_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / "dev.py", tmp_path)
    for file in ("app/__init__.py", "app/local/__init__.py", "ops/__init__.py", *NEEDED_BY_DEV):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "app" / "local" / "run.py").write_text("import sys\nprint(sys.prefix, sys.argv[1:])\n")
    for lock in (dev.RUNTIME_LOCK, dev.TERMINAL_LOCK, dev.LOCAL_MODEL_LOCK):
        (tmp_path / lock).write_text("")
    outside = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    command = [sys.executable, "dev.py", "run", "--port", "1"]
    said = []
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stdout) == (0, f"{tmp_path / '.venv'} ['--port', '1']\n"), done.stderr
        said.append(done.stderr)
    assert "Making .venv" in said[0]
    assert said[1] == "", "the second time there is nothing to make or install"


def test_commands_run_side_by_side_and_each_comes_with_what_it_wrote(tmp_path: Path) -> None:
    """Both wait for a file of the other."""
    environment = VirtualEnvironment(tmp_path / ".venv")
    program = """
import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:3])
mine.touch()
deadline = time.monotonic() + 20
while not other.exists() and time.monotonic() < deadline: time.sleep(0.01)
print("to the log"); print("of", mine.name, file=sys.stderr); sys.exit(3 if other.exists() else 1)
"""
    commands = [[sys.executable, "-c", program, mine, other] for mine, other in ("ab", "ba")]
    ended = {str(command[3]): (code, output) for command, code, output in environment.run_each(commands, at_once=2)}
    assert {name: code for name, (code, _) in ended.items()} == {"a": 3, "b": 3}
    assert set(ended["a"][1].split("\n")) == {"to the log", "of a", ""}


class CheckedEnvironment(VirtualEnvironment):
    failing: tuple[str, ...] = ()

    def install(self, *locks: str) -> None:
        pass

    def run_each(
        self, commands: Sequence[Sequence[str | Path]], *, at_once: int
    ) -> Iterator[tuple[Sequence[str | Path], int, str]]:
        for command in reversed(commands):
            code = int(any(part in self.failing for part in command))
            yield command, code, f"what it says: {code}\n"


@pytest.mark.parametrize("failing", [(), ("mypy",), ("mypy", "tests/ops/files")])
def test_check_fails_with_each_tool_that_failed_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], failing: tuple[str, ...]
) -> None:
    environment = CheckedEnvironment(tmp_path / ".venv")
    environment.failing = failing
    assert dev.check(environment, []) == len(failing)
    said = capsys.readouterr().err
    assert said.count("what it says: 1") == len(failing)
    end = said.splitlines()[-1 - len(failing) :]
    expected = f"{len(failing)} of 10 checks failed:" if failing else "All 10 checks passed."
    assert (end[0], [line.split()[-1] for line in end[1:]]) == (expected, list(reversed(failing)))
