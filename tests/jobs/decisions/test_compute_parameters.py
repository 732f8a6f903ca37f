"""A retry with 8 workers: where the job declares a parameter for it, and where it does not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.jobs.decisions.compute_parameters import with_declared_names
from app.jobs.decisions.parameter_rules import allowed_parameters
from app.jobs.job_policy import ParameterRule


@pytest.mark.parametrize(
    ("asked", "declared", "named"),
    [
        ({"workers": "8"}, ["num_workers", "day"], {"num_workers": "8"}),
        ({"workers": "8"}, ["workers", "num_workers"], {"workers": "8"}),
        ({"workers": "8", "num_workers": "9"}, ["num_workers"], {"workers": "8", "num_workers": "9"}),
        ({"workers": "8"}, ["n_workers", "Worker Count"], {"workers": "8"}),
        ({"workers": "8", "cluster_size": "9"}, ["num_workers"], {"num_workers": "8", "cluster_size": "9"}),
        ({"Batch-Size": "10"}, ["batch_size"], {"batch_size": "10"}),
        ({"min_workers": "8"}, ["num_workers"], {"min_workers": "8"}),
        ({"": "8", "💥": "9"}, ["num_workers"], {"": "8", "💥": "9"}),
    ],
)
def test_what_is_asked_for_is_named_as_the_job_names_it_where_that_is_clear(
    asked: Mapping[str, str], declared: list[str], named: Mapping[str, str]
) -> None:
    assert with_declared_names(asked, declared) == named


@pytest.mark.parametrize("name", ["workers", "num_workers", "node_type_id", "spark.driver.memory", "Cluster Size"])
def test_a_job_without_a_parameter_for_its_compute_says_that_a_retry_cannot_change_it(name: str) -> None:
    rules = (ParameterRule("batch_size", "integer"),)
    allowed, problems = allowed_parameters({name: "8"}, {"batch_size": "9"}, rules)
    assert allowed == {}
    assert problems == (
        f"The job declares no parameter {name}, and a retry changes job parameters only, "
        "never a cluster: edit the job.",
    )
    assert allowed_parameters({"table": "a"}, {}, rules)[1] == ("The job declares no parameter table.",)
