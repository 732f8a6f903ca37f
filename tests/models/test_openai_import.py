"""openai imported without its catalogue of types is openai all the same. In processes of their own: an import stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def printed_by(code: str) -> object:
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert "could not be imported" not in result.stderr
    return json.loads(result.stdout)


def test_the_first_answer_does_not_wait_for_the_types_of_all_answers() -> None:
    loaded = printed_by(
        "import json, sys; from app.models.openai_import import import_openai\n"
        "import_openai().AsyncOpenAI(api_key='x')\n"
        "print(json.dumps(sum(name.startswith('openai.types.') for name in sys.modules)))"
    )
    assert isinstance(loaded, int)
    assert loaded < 60


def test_every_name_of_the_package_is_there_for_its_other_users() -> None:
    names = "import json; names = lambda m: sorted(n for n in dir(m) if not n.startswith('_'))\n"
    used = "import openai.types.responses, openai.lib; openai.types.Completion, openai.lib.pydantic_function_tool\n"
    show = "print(json.dumps([names(openai.types), names(openai.types.responses), sorted(openai.__all__)]))"
    whole = printed_by(names + "import openai\n" + used + show)
    requeue = printed_by(
        names + "from app.models.openai_import import import_openai; openai = import_openai()\n" + used + show
    )
    assert requeue == whole


def test_what_the_package_offers_works() -> None:
    worked = printed_by(
        "import json, pydantic; from app.models.openai_import import import_openai; openai = import_openai()\n"
        "class Add(pydantic.BaseModel):\n    a: int\n"
        "tool = openai.pydantic_function_tool(Add)\n"
        "client = openai.AsyncOpenAI(api_key='x')\n"
        "shown = [tool['function']['name'], type(client.responses).__name__, openai.types.CompletionUsage.__name__]\n"
        "print(json.dumps(shown))"
    )
    assert worked == ["Add", "AsyncResponses", "CompletionUsage"]


def test_a_package_with_another_layout_is_imported_whole(tmp_path: Path) -> None:
    """An `openai` whose parts need each other's names while they are imported, as some later version might."""
    package = tmp_path / "openai"
    (package / "types").mkdir(parents=True)
    (package / "__init__.py").write_text("from .types import Odd\nname = Odd.name\n")
    (package / "types" / "__init__.py").write_text("class Odd:\n    name = 'odd'\n")
    code = (
        f"import sys, json; sys.path.insert(0, {str(tmp_path)!r}); from app.models.openai_import import import_openai\n"
        "print(json.dumps(import_openai().name))"
    )
    assert json.loads(run(code).stdout) == "odd"
