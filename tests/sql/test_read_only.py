"""What looks as if it only read, and what does."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sql.read_only import MAX_CHARACTERS, NotReadOnlyError, check_read_only

NEVER = [
    "",
    " ; -- nothing",
    "drop table t",
    "delete from t",
    "insert into t select 1",
    "update t set a = 1",
    "merge into t using s on t.a = s.a when matched then delete",
    "with x as (select 1) insert into t select * from x",
    "with x as (delete from t returning *) select * from x",
    "from t insert into x select *",
    "from t select a insert into x select *",
    "select * into t from s",
    "select 1; drop table t",
    "select 1; select 2",
    "create table t as select 1",
    "create temp view v as select 1",
    "replace table t as select 1",
    "copy into t from '/x'",
    "truncate table t",
    "optimize t",
    "vacuum t",
    "set x = 1",
    "use catalog main",
    "cache table t",
    "grant select on t to ann",
    "call f()",
    "execute immediate 'drop table t'",
    "explain analyze delete from t",
    "begin select 1; end",
    "reset",
    "select * from t for update",
    "select secret('a', 'b')",
    "select `SECRET` ('a', 'b')",
    "select system.builtin.secret('a', 'b')",
    "select try_secret('a', 'b')",
    "select * from list_secrets()",
    "select (select max(secret('a', 'b')) from t)",
    "select * from t where exists (select 1 where http_request(conn => 'c', method => 'POST', path => '/') is null)",
    "select java_method('java.lang.System', 'exit', 1)",
    "select reflect('java.lang.System', 'getenv')",
    "select try_reflect('java.lang.System', 'getenv')",
    "select * from identifier(:x)",
    "select identifier('secret')('a', 'b')",
    "select transform(a) using 'curl x' from t",
    "select map a using 'curl x' from t",
    "select 1 /* /*+ */, secret('a', 'b') -- */",
    "select 1 -- \\\n /*\n, secret('a', 'b') -- */",
    "select r'\\', secret('a', 'b'), '",
    "select $$'$$, secret('a', 'b') -- '",
    "select ${spark.x}",
    "select 1 where",
]

EXTERNAL = [
    "select * from read_files('/Volumes/a/b/c')",
    "select * from `read_files`('/Volumes/a/b/c')",
    "select * from read_kafka(bootstrapServers => 'x')",
    "select * from remote_query('c', database => 'd', query => 'drop table t')",
    "select * from event_log('p')",
    "select ai_query('endpoint', a) from t",
    "select AI_Classify(a, array('x', 'y')) from t",
    "select * from csv.`/x`",
    "select * from `CSV`.`/x`",
    "select * from parquet.`s3://b/x` as p",
    "select * from delta.`/x` version as of 3",
    "select * from (select * from json.`/x`)",
    "select * from text.`x`",
    "select * from binaryFile.`/x`",
    "select * from `org.apache.spark.sql.execution.datasources.csv.CSVFileFormat`.`x`",
]

FINE = [
    "select 1",
    "SELECT 1;",
    "-- how many\nselect count(*) from samples.tpch.orders -- all",
    "select o_orderstatus, sum(o_totalprice) from samples.tpch.orders group by all order by all limit 10",
    "with x as (select 1 as a) select * from x",
    "with recursive n as (select 1 as a) select * from n",
    "(select 1) union all (select 2)",
    "select 1 except select 2",
    "values (1, 'a'), (2, 'b')",
    "from samples.tpch.orders select o_orderkey",
    "select * from a.b.c version as of 3",
    "select * from main.text.notes",
    "select a, row_number() over (partition by b order by c) as n from t qualify n = 1",
    "select * from t pivot (sum(a) for b in ('x', 'y'))",
    "select * from t lateral view explode(xs) as x",
    "select transform(xs, x -> x + 1), filter(xs, x -> x > 0) from t",
    "select j:a.b::int, from_json(s, 'x int').x, get_json_object(s, '$.a') from t",
    "select date_trunc('month', d), try_cast(a as int), cast(b as decimal(10, 2)) from t",
    "select 'drop table t; delete from t', \"secret('a', 'b')\", `update`, secret from t",
    "select * from t join u using (id) where t.a rlike '\\\\d+' and u.b in (select 1)",
    "select * from t tablesample (5 percent)",
    "select * from table_changes('a.b.c', 2)",
    "select current_user(), current_date(), replace(a, 'x', 'y'), main.tools.rating(a) from t",
]


def refusal(text: str, *, allows_external: bool = False) -> str:
    with pytest.raises(NotReadOnlyError) as caught:
        check_read_only(text, allows_external=allows_external)
    return str(caught.value)


@pytest.mark.parametrize("text", NEVER)
def test_what_may_write_call_out_or_read_differently_is_refused(text: str) -> None:
    assert refusal(text)
    assert refusal(text, allows_external=True)


@pytest.mark.parametrize("text", EXTERNAL)
def test_what_reaches_outside_the_tables_is_refused_unless_allowed(text: str) -> None:
    assert refusal(text)
    check_read_only(text, allows_external=True)


@pytest.mark.parametrize("text", FINE)
def test_a_query_is_fine(text: str) -> None:
    check_read_only(text, allows_external=False)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("select '" + "x" * MAX_CHARACTERS + "'", "longer"),
        ("select " + "(" * 51 + "1" + ")" * 51, "deep"),
        ("select " + "not " * 4900 + "1", "deep"),
        ("select " + "case when " * 900 + "1" + " then 1 end" * 900, "deep"),
        ("select " + "a[" * 5000 + "1" + "]" * 5000, "deep"),
    ],
    ids=["long", "brackets", "not", "case", "index"],
)
def test_a_statement_too_long_or_deep_is_refused_in_words(text: str, word: str) -> None:
    assert word in refusal(text)


@given(
    st.text(max_size=300) | st.lists(st.sampled_from([*"'\"`\\/*-$;(),.\n", "select", " ", "secret", "t"])).map("".join)
)
def test_any_text_is_judged(text: str) -> None:
    with suppress(NotReadOnlyError):
        check_read_only(text, allows_external=False)
