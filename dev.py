"""Set-up and the everyday commands. `python dev.py` lists them."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must be told so, not shown a traceback
    sys.exit("dev.py needs Python 3.11 or later; this is %d.%d, at %s" % (sys.version_info[:2] + (sys.executable,)))  # noqa: UP031, RUF005

import os
from pathlib import Path

from ops.command import DEV
from ops.virtual_environment import SetupError, VirtualEnvironment, say

ROOT = Path(__file__).resolve().parent
RUNTIME_LOCK = "requirements.txt"
DEVELOPMENT_LOCK = "requirements-dev.txt"
AGENT_SERVER_LOCK = "agent_server/requirements.txt"
TERMINAL_LOCK = "app/local/requirements-terminal.txt"
LOCAL_MODEL_LOCK = "app/local/requirements.txt"
_MAX_CORES = 4
_CHECKS_AT_ONCE = 2

HELP = """COMMAND

  run [--no-browser] [--verbose]     start the bot, and the Agents Playground to talk to it
  chat [question]                    talk to the bot in this terminal
  doctor                             whether the settings are right, and the workspace answers
  test [--all | pytest arguments]    run the tests; --all: the long ones too, half as long again
  check                              format, lint, types, import rules, what deployment reads
  bench [arguments]                  run the benchmarks
  evals [--model ENDPOINT]           have recorded failures of jobs diagnosed, by the rules alone or by a model
  package [--python 3.12]            make the deployment package in .data/package
  deploy [--build BUILD | --builds]  deploy the package, bring an earlier build back, or list the builds
  agent-server [--no-browser]        start the agent server, and the page to talk to it
  foundry [question] [--mcp]         have an agent in a stand-in Foundry project ask ours, and show each step
  preflight [--target prod]          make the agent server's folder for Databricks Apps, start it alone and ask it
  deploy-app [--var endpoint=NAME]   deploy that folder as a Databricks App, and wait for its health
  check-access [--app]               ask what the agent server uses, here or in the app, and name missing grants
  log-model [--register NAME]        log the agent in MLflow with its code, and ask what was logged
  evaluate [--url APP] [--judge M]   have MLflow score answers of the agent here, or of a deployed app
  lock [--upgrade]                   write the requirements files from pyproject.toml
  docs                               write docs/settings.md, and the picture in docs/architecture.md
  snapshots                          write infra/snapshots, what Bicep makes of infra/, and format infra/
  translate                          update app/locale with the sentences that the agent says itself

Everything is installed into .venv the first time it is needed."""


def main(arguments: list[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    commands = {
        each.__name__.replace("_", "-"): each
        for each in (
            run,
            chat,
            doctor,
            test,
            check,
            bench,
            evals,
            package,
            deploy,
            agent_server,
            foundry,
            preflight,
            deploy_app,
            check_access,
            log_model,
            evaluate,
            lock,
            docs,
            snapshots,
            translate,
        )
    }
    if command not in commands:
        usage = f"{DEV} {HELP}"
        if command in {"help", "-h", "--help"}:
            print(usage)
            return 0
        say(f"There is no command {command!r}.\n\n{usage}" if command else usage)
        return 2
    # It holds conversations and logs: other users of this machine must not read them.
    (ROOT / ".data").mkdir(mode=0o700, exist_ok=True)
    (ROOT / ".data").chmod(0o700)
    return commands[command](VirtualEnvironment.find(ROOT), rest)


def run(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(RUNTIME_LOCK, TERMINAL_LOCK, *_local_model())
    return environment.become("app.local.run", *arguments)


def chat(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(RUNTIME_LOCK, TERMINAL_LOCK, *_local_model())
    return environment.become("app.local.terminal", *arguments)


def doctor(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(RUNTIME_LOCK)
    return environment.become("app.local.doctor", *arguments)


def _local_model() -> list[str]:
    from app.local.local_settings import LocalSettingsError, add_local_settings, workspace_is_configured

    settings = dict(os.environ)
    try:
        add_local_settings(settings, ROOT)
    except LocalSettingsError as error:
        raise SetupError(str(error)) from None
    return [] if workspace_is_configured(settings) else [LOCAL_MODEL_LOCK]


def test(environment: VirtualEnvironment, arguments: list[str]) -> int:
    """Without pytest's arguments the fast tests come first, so that a broken line is known within a minute or so."""
    environment.install(DEVELOPMENT_LOCK, LOCAL_MODEL_LOCK)
    if arguments not in ([], ["--all"]):
        return environment.become("pytest", *arguments)
    no_tests = 5
    proofs = "" if arguments else " and not proof"
    examples = ["--hypothesis-profile", "all"] if arguments else []
    # A file stays in one process: what its tests share is made once. Those with the most tests are not the longest, and
    # do not come first.
    # Two processes a core: many of them wait.
    processes = 2 * min(os.cpu_count() or 1, _MAX_CORES)
    together = ["--dist", "loadfile", "--no-loadscope-reorder", "-n", str(processes)]
    runs = [
        [*together, *examples, "-m", "not slow"],
        [*together, "-m", f"slow and not alone{proofs}"],
        # All of them are there; to look for them everywhere takes half a minute.
        ["tests/faults", "-m", f"alone{proofs}"],
    ]
    codes = [environment.run(environment.python, "-m", "pytest", *run) for run in runs]
    return max((code for code in codes if code != no_tests), default=0)


def check(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    python = environment.python
    schema = [environment.bin / _program("check-jsonschema")]
    # The longest first: the others run beside it.
    tools: list[list[str | Path]] = [
        [python, "-m", "mypy"],
        [python, "-m", "pytest", "-q", "tests/ops/files"],
        [python, "-m", "ruff", "format", "--check", "."],
        [python, "-m", "ruff", "check", "."],
        [environment.bin / _program("lint-imports")],
        [python, "-m", "ops.bicep"],
        [*schema, "--builtin-schema", "vendor.github-workflows", *_files(".github/workflows/*.yml")],
        [*schema, "--builtin-schema", "vendor.dependabot", *_files(".github/dependabot.yml")],
        [*schema, "--schemafile", *_files("ops/schemas/m365agents-*.json"), *_files("m365agents*.yml")],
        [environment.bin / _program("zizmor"), "--offline", "--quiet", "--min-severity", "medium", ".github"],
    ]
    failed = []
    for tool, code, output in environment.run_each(tools, at_once=_CHECKS_AT_ONCE):
        line = " ".join([Path(tool[0]).stem, *map(str, tool[1:])])
        say(f"\n{line}\n{output}".rstrip())
        if code:
            failed.append(line)
    say(f"\n{len(failed)} of {len(tools)} checks failed:" if failed else f"\nAll {len(tools)} checks passed.")
    for line in failed:
        say(f"  {line}")
    return len(failed)


def _files(pattern: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))


def _program(name: str) -> str:
    return f"{name}.exe" if os.name == "nt" else name


def bench(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("benchmarks", *arguments)


def evals(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("evals", *arguments)


def package(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("ops.package", *arguments)


def deploy(environment: VirtualEnvironment, arguments: list[str]) -> int:
    """Where only the finished package is, as in a pipeline, there is nothing to install first."""
    from ops.deploy.__main__ import main as run_deploy

    return run_deploy(arguments)


def agent_server(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(AGENT_SERVER_LOCK, *_local_model())
    return environment.become("app.local.agent_server", *arguments)


def foundry(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK, *_local_model())
    return environment.become("app.local.foundry", *arguments)


def preflight(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK, LOCAL_MODEL_LOCK)
    return environment.become("ops.databricks_app.preflight", *arguments)


def deploy_app(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK, LOCAL_MODEL_LOCK)
    return environment.become("ops.databricks_app.deploy_app", *arguments)


def check_access(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("ops.databricks_app.check_access", *arguments)


def log_model(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("ops.log_model", *arguments)


def evaluate(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("ops.evaluate", *arguments)


def lock(environment: VirtualEnvironment, arguments: list[str]) -> int:
    """Each lock is held to those before it, so that tests run what is deployed."""
    import tomllib

    environment.install(DEVELOPMENT_LOCK)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

    def wanted(extra: str) -> str:
        file = ROOT / ".data" / f"{extra}.in"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(extras[extra]) + "\n")
        return str(file)

    project = ["pyproject.toml", "--extra"]
    runtime = ["--constraints", RUNTIME_LOCK]
    deployed = [*runtime, "--constraints", AGENT_SERVER_LOCK]
    locks = {
        RUNTIME_LOCK: [*project, "function-app"],
        AGENT_SERVER_LOCK: [*project, "agent-server", *runtime],
        DEVELOPMENT_LOCK: [*project, "function-app", "--extra", "agent-server", "--extra", "dev", *deployed],
        TERMINAL_LOCK: [wanted("terminal"), "--constraints", DEVELOPMENT_LOCK],
        LOCAL_MODEL_LOCK: [wanted("local-model"), "--no-deps"],
    }
    options = ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    options += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"]
    for name, sources in locks.items():
        say(f"Writing {name} ...")
        code = environment.run(
            environment.python, "-m", "uv", "pip", "compile", *sources, "-o", name, *options, *arguments
        )
        if code:
            return code
    return 0


def docs(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    code = environment.run(environment.python, "-m", "ops.architecture_page")
    return code or environment.become("ops.settings_page", *arguments)


def snapshots(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("ops.bicep", "--write", *arguments)


def translate(environment: VirtualEnvironment, arguments: list[str]) -> int:
    environment.install(DEVELOPMENT_LOCK)
    return environment.become("ops.translations", *arguments)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
