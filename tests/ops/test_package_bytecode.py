"""The package has the same content wherever it is made, and its bytecode is used as it is."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from ops.package import PackageError, bytecode
from ops.package.archive import read_build, write_build_file, write_zip
from ops.package.build import Package, make_package
from ops.package.bytecode import compile_package, find_interpreter
from tests.fakes.packaging import ROOT, install_small, small_project, track, write

PYTHON = sysconfig.get_python_version()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return small_project(tmp_path / "project")


def package_of(project: Path, output: Path) -> Package:
    return make_package(project, output, PYTHON, install_small)


def test_every_entry_of_the_zip_has_the_same_time_and_permissions(project: Path, tmp_path: Path) -> None:
    package = package_of(project, tmp_path / "out")
    with zipfile.ZipFile(package.zip) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    about = {(entry.date_time, entry.external_attr >> 16, entry.create_system, entry.extra) for entry in entries}
    assert about == {((1980, 1, 1, 0, 0, 0), 0o100644, 3, b"")}


def test_a_zip_written_on_windows_is_the_one_of_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "agent", {"app/agent.py": "x = 1\n"})
    here = write_zip(tmp_path / "agent", tmp_path / "here.zip")
    # All that zipfile looks at to tell where an entry is from.
    monkeypatch.setattr(sys, "platform", "linux" if sys.platform == "win32" else "win32")
    assert write_zip(tmp_path / "agent", tmp_path / "there.zip") == here


def elsewhere(project: Path, folder: Path) -> Path:
    """The same project in another place, made in another order, at another time, with other rights and line ends."""
    target = folder / "a much longer path" / "the same project"
    files = [path for path in project.rglob("*") if path.is_file() and ".git/" not in path.as_posix()]
    random.Random(7).shuffle(files)
    for number, path in enumerate(files):
        place = target / path.relative_to(project)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        os.utime(place, (1_000_000 + number, 1_000_000 + number))
        place.chmod(0o755 if number % 2 else 0o600)
    track(target)
    return target


def test_the_same_content_gives_the_same_bytes_wherever_it_lies(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = package_of(project, tmp_path / "out")
    other = elsewhere(project, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONHASHSEED", "1234")
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "cache"))
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    before = os.umask(0o077)
    try:
        second = package_of(other, tmp_path / "out2")
    finally:
        os.umask(before)
    assert second.sha256 == first.sha256
    assert second.zip.read_bytes() == first.zip.read_bytes()


HISTORY = """
import sys, xml.dom.minidom, unittest.mock, asyncio, decimal, email.message, importlib.util
spec = importlib.util.spec_from_file_location("compiler", sys.argv[1])
compiler = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compiler)
from pathlib import Path
held = []
for name in reversed(sys.argv[3:]):
    source = (Path(sys.argv[2]) / name).read_bytes()
    held += [sys.intern(word) for word in source.decode().split()] + [compile(source, name, "exec")]
sys.stdin = __import__("io").StringIO(__import__("json").dumps(
    {"root": sys.argv[2], "deployed_root": "/home/site/wwwroot", "files": list(reversed(sys.argv[3:]))}))
compiler.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "python", [pytest.param("3.11", marks=pytest.mark.proof), pytest.param("3.12", marks=pytest.mark.proof), "3.13"]
)
def test_bytecode_does_not_depend_on_what_the_compiling_process_did_before(tmp_path: Path, python: str) -> None:
    """marshal writes down reference counts and interned strings unless it is kept from it, each version its own way."""
    try:
        interpreter = find_interpreter(python)
    except PackageError:
        pytest.skip(f"there is no Python {python} on this machine")
    fresh, used = tmp_path / "fresh", tmp_path / "used"
    sources = sorted(path for folder in ("app", "ops/package") for path in (ROOT / folder).rglob("*.py"))[::5]
    where = [*interpreter.command, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    stdlib = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    sources += [stdlib / name for name in ("argparse.py", "typing.py", "asyncio/tasks.py", "ast.py", "inspect.py")]
    names = [f"module{number}.py" for number in range(len(sources))]
    for folder in (fresh, used):
        folder.mkdir()
        for name, source in zip(names, sources, strict=True):
            shutil.copy(source, folder / name)
    compile_package(fresh, interpreter)
    compiler = Path(bytecode.__file__).with_name("compiler.py")
    history = [*interpreter.command, "-c", HISTORY, str(compiler), str(used), *names]
    subprocess.run(history, check=True, capture_output=True)
    pyc = {path.name: path.read_bytes() for path in fresh.glob("__pycache__/*.pyc")}
    assert len(pyc) == len(names)
    differing = [path.name for path in used.glob("__pycache__/*.pyc") if path.read_bytes() != pyc[path.name]]
    assert differing == []


def test_bytecode_is_used_unchecked_and_names_the_deployed_file(project: Path, tmp_path: Path) -> None:
    package = package_of(project, tmp_path / "out")
    cache_tag = f"cpython-{PYTHON.replace('.', '')}"
    with zipfile.ZipFile(package.zip) as archive:
        pyc = archive.read(f"app/agent/__pycache__/agent.{cache_tag}.pyc")
    assert pyc[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(pyc[4:8], "little") == 1, "PEP 552: hash-based, source not checked"
    assert b"/home/site/wwwroot/app/agent/agent.py" in pyc
    assert str(tmp_path).encode() not in pyc
    stale = package.folder / "app" / "agent" / "agent.py"
    stale.write_text("raise SystemExit('compiled again')")
    os.utime(stale, (1, 1))
    code = "import app.agent.agent as agent; print(agent.answer.__code__.co_filename)"
    done = subprocess.run([sys.executable, "-c", code], cwd=package.folder, capture_output=True, text=True)
    assert done.stdout.strip() == str(stale), done.stderr


def test_a_file_of_ours_that_is_not_python_is_named_with_its_line(project: Path, tmp_path: Path) -> None:
    (project / "app" / "agent" / "agent.py").write_text("x = 1\ndef broken(:\n")
    with pytest.raises(PackageError, match=r"^app/agent/agent\.py:2: not Python 3\.\d+\.\d+: "):
        package_of(project, tmp_path / "out")


def test_a_failed_package_leaves_the_one_before(project: Path, tmp_path: Path) -> None:
    before = package_of(project, tmp_path / "out")
    (project / "app" / "agent" / "agent.py").write_text("def broken(:\n")
    with pytest.raises(PackageError):
        package_of(project, tmp_path / "out")
    assert read_build(before.zip).build == before.build
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["agent", "agent.zip"]


def test_without_an_interpreter_of_the_version_it_says_which_and_what_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bytecode, "_interpreter", lambda command, python: None)
    with pytest.raises(PackageError, match=r"Python 3\.12 is needed .* `uv python install 3\.12`, .* --python 3\."):
        find_interpreter("3.12")


def test_an_interpreter_of_another_version_is_not_taken() -> None:
    other = "3.11" if PYTHON != "3.11" else "3.12"
    probe = bytecode._interpreter
    assert probe((sys.executable,), other) is None
    found = probe((sys.executable,), PYTHON)
    assert found is not None
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert probe(("no such program",), PYTHON) is None


def test_interpreters_of_pyenv_are_found_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("3.12.9", "3.12.10", "3.12.0rc1", "3.11.4"):
        (tmp_path / "versions" / version).mkdir(parents=True)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert [folder.name for folder in bytecode._pyenv_versions("3.12")] == ["3.12.10", "3.12.9"]


def test_two_compilers_at_once_write_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = find_interpreter(PYTHON)
    builds = []
    for count in (1, 3):
        folder = tmp_path / str(count)
        write(folder, {f"module{number}.py": f"name = 'value {number}'\n" for number in range(7)})
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        compile_package(folder, interpreter)
        write_build_file(folder, "1")
        builds.append(write_zip(folder, tmp_path / f"{count}.zip"))
    assert builds[0] == builds[1]


@pytest.mark.skipif(sys.platform == "win32", reason="a shim is a script of a shell")
def test_a_version_managers_shim_is_replaced_by_the_python_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = next(version for version in ("3.11", "3.12", "3.13") if version != sysconfig.get_python_version())
    try:
        real = find_interpreter(other).command[0]
    except PackageError:
        pytest.skip("there is one Python on this machine")
    shim = tmp_path / f"python{other}"
    shim.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_interpreter(other).command == (real,)
