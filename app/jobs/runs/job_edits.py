"""Whether a job was edited since a run of it began, of which a repair would use the settings of today.

The service tells no time of the last edit: what a run tells of its tasks, parameters and clusters is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.common.json_values import count, items, mapping, text

Json = Mapping[str, Any]

_COMPUTE_FIELDS = ("existing_cluster_id", "job_cluster_key", "environment_key")
_TASK_FIELDS = ("depends_on", "run_if", "libraries")
_OWN_WORDS = frozenset({"base_parameters", "parameters", "named_parameters", "job_parameters", "commands"})
"""What only the owner writes, so that a value which is not there any more is an edit too."""


def definition(run: Json) -> Json:
    """What `was_edited` needs of a run."""
    tasks = [
        {name: task[name] for name in task if _is_compared(name)} for task in map(mapping, items(run.get("tasks")))
    ]
    rest = {name: run[name] for name in ("job_parameters", "job_clusters", "git_source") if name in run}
    return {**rest, "tasks": tasks}


def was_edited(run: Json, settings: Json) -> bool:
    """`run` and `settings` are whole, with all of their tasks."""
    then, today = _last_attempts(run), _by_name(settings.get("tasks"), "task_key")
    return (
        then.keys() != today.keys()
        or any(_task_differs(then[key], today[key]) for key in today)
        or _defaults(run.get("job_parameters")) != _defaults(settings.get("parameters"))
        or _clusters_differ(run, settings)
        or _differs(mapping(run.get("git_source")), mapping(settings.get("git_source")))
    )


def _is_compared(name: str) -> bool:
    return name.endswith("_task") or name in {"task_key", "attempt_number", *_COMPUTE_FIELDS, *_TASK_FIELDS}


def _last_attempts(run: Json) -> dict[str, Json]:
    tasks = sorted(map(mapping, items(run.get("tasks"))), key=lambda task: count(task.get("attempt_number")))
    return {text(task.get("task_key")): task for task in tasks}


def _by_name(values: object, name: str) -> dict[str, Json]:
    return {text(each.get(name)): each for each in map(mapping, items(values))}


def _task_differs(then: Json, today: Json) -> bool:
    kinds = {name for name in {*then, *today} if name.endswith("_task")}
    return (
        any((name in then) != (name in today) for name in kinds)
        or _upstream(then) != _upstream(today)
        or any(text(then.get(name)) != text(today.get(name)) for name in _COMPUTE_FIELDS)
        or any(_differs(then.get(name), today.get(name)) for name in (*kinds, "run_if", "libraries"))
    )


def _upstream(task: Json) -> set[str]:
    return set(_by_name(task.get("depends_on"), "task_key"))


def _defaults(parameters: object) -> dict[str, str]:
    """A parameter that only the run was given has no default."""
    return {name: text(each["default"]) for name, each in _by_name(parameters, "name").items() if "default" in each}


def _clusters_differ(run: Json, settings: Json) -> bool:
    then, today = (_by_name(each.get("job_clusters"), "job_cluster_key") for each in (run, settings))
    return any(_differs(then[key].get("new_cluster"), today[key].get("new_cluster")) for key in then.keys() & today)


def _differs(then: object, today: object) -> bool:
    """Where only one of them has a field, the service may have added it: a default, or what came of the run."""
    if isinstance(then, dict) and isinstance(today, dict):
        added = (then.keys() ^ today.keys()) & _OWN_WORDS
        return bool(added) or any(
            then[name] != today[name] if name in _OWN_WORDS else _differs(then[name], today[name])
            for name in then.keys() & today.keys()
        )
    if isinstance(then, list) and isinstance(today, list):
        return len(then) != len(today) or any(map(_differs, then, today))
    return then is not None and today is not None and then != today
