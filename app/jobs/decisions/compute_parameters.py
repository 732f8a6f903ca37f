"""Parameters that stand for the compute of a job. A retry changes parameters only, so "with 8 workers" needs a job that
declares one for it. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_WORKERS = frozenset(
    [
        "workers",
        "numworkers",
        "numberofworkers",
        "noofworkers",
        "nworkers",
        "workercount",
        "workernumber",
        "clustersize",
    ]
)
_CLUSTER = _WORKERS | {
    *(
        "minworkers",
        "maxworkers",
        "autoscale",
        "nodes",
        "numnodes",
        "nodecount",
        "nodetype",
        "nodetypeid",
        "workertype",
    ),
    *("drivernodetype", "drivernodetypeid", "drivertype", "drivermemory", "sparkdrivermemory", "executormemory"),
    *("sparkexecutormemory", "executorcores", "instancetype", "instancepoolid", "cluster", "clusterid", "newcluster"),
    *("sparkversion", "sparkconf", "memory", "cores", "availability", "photon", "runtimeengine"),
}
_MAX_NAME_CHARACTERS = 100


def names_compute(name: str) -> bool:
    return _plain(name) in _CLUSTER


def with_declared_names(asked: Mapping[str, str], declared: Collection[str]) -> Mapping[str, str]:
    """`workers` becomes `num_workers`, and `Batch-Size` becomes `batch_size`, where the job declares one such parameter
    and it is not asked for by its own name. What the job does not declare stays as it is.
    """
    named: dict[str, str] = {}
    for name, value in asked.items():
        alike = [each for each in declared if _are_alike(name, each)]
        is_clear = name not in declared and len(alike) == 1 and alike[0] not in asked and alike[0] not in named
        named[alike[0] if is_clear else name] = value
    return named


def _are_alike(asked: str, declared: str) -> bool:
    both = {_plain(asked), _plain(declared)}
    return len(both) == 1 or both <= _WORKERS


def _plain(name: str) -> str:
    return "".join(each for each in name[:_MAX_NAME_CHARACTERS].casefold() if each.isalnum())
