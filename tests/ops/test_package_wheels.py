"""The dependencies are wheels for the Python and the system that Azure runs, wherever the package is made."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import pytest

from ops.package import SITE_PACKAGES, PackageError
from ops.package.build import make_package
from ops.package.bytecode import find_interpreter
from ops.package.dependencies import install_wheels, read_lock
from tests.fakes.packaging import ROOT, ask_once, copy_project, wheel

TARGET = "3.12"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in the place of every registry."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_REQUIRE_VIRTUALENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


def installed(root: Path, *lock: str, python: str = TARGET, hashed: Path | None = None) -> dict[str, str]:
    """`hashed` has the files that the lock allows: by default all of the registry."""
    files = sorted((hashed or root / "wheels").iterdir())
    hashes = {
        name: [f" --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files if name in file.name]
        for name in (line.partition("=")[0] for line in lock)
    }
    lines = [" \\\n   ".join([line, *hashes[line.partition("=")[0]]]) for line in lock]
    (root / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
    install_wheels(root, root / "target", python)
    return {path.name: path.read_text() for path in (root / "target").glob("*.py")}


def test_of_several_wheels_the_one_for_linux_and_the_target_is_taken(registry: Path, tmp_path: Path) -> None:
    tags = [
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp313-cp313-manylinux_2_17_x86_64",
        "cp312-cp312-manylinux_2_39_x86_64",
        "cp312-cp312-manylinux_2_17_aarch64",
        "cp312-cp312-musllinux_1_2_x86_64",
        "cp312-cp312-macosx_11_0_arm64",
        "cp312-cp312-win_amd64",
    ]
    for tag in tags:
        wheel(registry, "thing", "1", tag, {"thing.py": tag})
    assert installed(tmp_path, "thing==1") == {"thing.py": tags[1]}


def test_the_locks_markers_are_those_of_the_target_and_not_of_this_machine(registry: Path, tmp_path: Path) -> None:
    for name in ("old", "new", "windows", "linux"):
        wheel(registry, name, "1", "py3-none-any", {f"{name}.py": ""})
    lock = [
        "old==1 ; python_full_version < '3.12'",
        "new==1 ; python_full_version >= '3.12'",
        "windows==1 ; sys_platform == 'win32'",
        "linux==1 ; sys_platform == 'linux' and platform_machine == 'x86_64'",
    ]
    assert set(installed(tmp_path, *lock)) == {"new.py", "linux.py"}


def test_a_requirement_without_a_wheel_for_the_target_is_named(registry: Path, tmp_path: Path) -> None:
    wheel(registry, "thing", "1.5", "cp311-cp311-manylinux_2_17_x86_64", {})
    with pytest.raises(PackageError, match=r"^thing 1\.5 has no wheel for Linux and Python 3\.12\. pip said:\n"):
        installed(tmp_path, "thing==1.5")


def test_a_source_distribution_is_not_built(registry: Path, tmp_path: Path) -> None:
    (registry / "thing-2.tar.gz").write_bytes(b"")
    with pytest.raises(PackageError, match=r"^thing 2 has no wheel for Linux and Python 3\.12\."):
        installed(tmp_path, "thing==2")


def test_a_wheel_that_the_lock_does_not_know_is_not_installed(registry: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.mkdir()
    wheel(known, "thing", "1", "py3-none-any", {"thing.py": "what was locked"})
    wheel(registry, "thing", "1", "py3-none-any", {"thing.py": "something else"})
    with pytest.raises(PackageError, match=r"^A wheel is another file than requirements\.txt has the hash of"):
        installed(tmp_path, "thing==1", hashed=known)
    assert not (tmp_path / "target" / "thing.py").exists()


def test_a_registry_that_cannot_be_reached_is_said(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(
        PackageError, match=r"^The package registry could not be reached for the wheels of requirements"
    ):
        installed(tmp_path, "thing==2")


def registry_answers() -> bool:
    """Whether the registry this machine is set up for has the first requirement of the lock."""
    first, _ = next(read_lock(ROOT / "requirements.txt"))
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--retries", "1", str(first)]
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([*command, "--dest", folder], capture_output=True, timeout=120).returncode == 0


def interpreter_for(python: str) -> tuple[str, ...] | None:
    try:
        return find_interpreter(python).command
    except PackageError:
        return None


@pytest.mark.slow
@pytest.mark.proof
async def test_the_real_package_for_the_default_python_holds_its_wheels_alone_and_answers(tmp_path: Path) -> None:
    interpreter = interpreter_for(TARGET)
    if interpreter is None:
        pytest.skip(f"there is no Python {TARGET} on this machine")
    if not registry_answers():
        pytest.skip("no package registry can be reached")
    package = make_package(copy_project(tmp_path / "project"), tmp_path / "out", TARGET)
    tags: set[str] = set()
    with zipfile.ZipFile(package.zip) as archive:
        names = archive.namelist()
        for name in names:
            if name.endswith(".dist-info/WHEEL"):
                tags |= set(re.findall(r"^Tag: (\S+)", archive.read(name).decode(), re.MULTILINE))
    compiled_for = {match[1] for name in names if (match := re.search(r"\.(cpython-\d+)\.pyc$", name))}
    assert compiled_for == {"cpython-312"}
    extensions = [name for name in names if name.endswith(".so")]
    assert extensions
    assert not [name for name in extensions if "cpython-" in name and "cpython-312-x86_64-linux-gnu" not in name]
    assert not [tag for tag in tags if not re.search(r"-any$|manylinux.*_x86_64$", tag)]
    assert not [tag for tag in tags if re.match(r"cp\d+-cp\d+-", tag) and not tag.startswith("cp312-cp312-")]
    assert package.not_compiled == []
    assert f"{SITE_PACKAGES}/azure/functions/__init__.py" in names
    if sysconfig.get_platform() == "linux-x86_64":
        served = await ask_once(package.folder, interpreter)
        assert (served.health["build"], served.compiled) == (package.build, [])


@pytest.mark.slow
@pytest.mark.proof
def test_two_packages_of_the_same_commit_are_the_same_bytes(tmp_path: Path) -> None:
    python = sysconfig.get_python_version()
    if not registry_answers():
        pytest.skip("no package registry can be reached")
    packages = [
        make_package(copy_project(tmp_path / name / "project"), tmp_path / name / "out", python) for name in ("a", "b")
    ]
    assert packages[0].sha256 == packages[1].sha256
