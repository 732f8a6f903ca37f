"""Statements from public bug reports: of sqlglot's Databricks dialect, and of guards that let too much through."""

from __future__ import annotations

import pytest

from app.sql.read_only import NotReadOnlyError, check_read_only

FINE = {
    "tobymao/sqlglot#1027": "select id from b.a a qualify row_number() over (partition by br order by d desc) = 1",
    "tobymao/sqlglot#1048": "with x (select 1) select * from x",
    "tobymao/sqlglot#1052": "select id, window(day, '1 DAY').start from calls group by id, window(day, '1 DAY')",
    "tobymao/sqlglot#1052, first": "select count(*) from calls group by window(day, '1 hour'), id",
    "tobymao/sqlglot#1287": "select sum(a) over w from t window w as (partition by b order by c)",
    "tobymao/sqlglot#2043": "select row_number() over (distribute by id sort by x) from t",
    "tobymao/sqlglot#2162": "select regexp_replace('100-200', r'([^0-9])', '')",
    "tobymao/sqlglot#2163": "select cast('23:00:00' as interval hour to second)",
    "tobymao/sqlglot#3153": "select asof as as_of_date from t",
    "tobymao/sqlglot#3155": "select any(a = 'foo' or b = 'bar') over (partition by c) as d from t",
    "tobymao/sqlglot#3499": "select unnest from t",
    "tobymao/sqlglot#3673": "select raw:`zip code`, raw:`fb:testid`, raw:store.bicycle[0].price::double from t",
    "tobymao/sqlglot#5024": "select convert_timezone('utc', timestamp '2025-04-29 18.47.18'::date) from t",
    "tobymao/sqlglot#5027": "select try_cast(search:['a']['b'] as array<variant>) from t",
    "tobymao/sqlglot#5231": "from t |> tablesample (10 percent) |> aggregate sum(a) as s group by b |> order by s desc",
    "tobymao/sqlglot#6684": "select * from t pivot (sum(case when b = 2 then d else e end) as d, sum(x) as s "
    "for n in ('Compact Disc', 'Digital Track'))",
    "tobymao/sqlglot#7740": "select 'Hello ''World!', 'it''s; drop table t'",
    "sqlfluff/sqlfluff#6679": "select s.id, i.* from t as s, lateral variant_explode(parse_json(s.r):value) as i",
    "rocketride-org/rocketride-server#2118": "select 'insert into t', `into` from t where b = 'for update'",
}

NEVER = {
    # Spark's lexer takes these spaces for white space.
    "apache/spark#45620, no-break space": "select secret\u00a0('a', 'b')",
    "apache/spark#45620, ideographic space": "select secret\u3000('a', 'b')",
    "apache/spark#45620, line separator": "select secret\u2028('a', 'b')",
    "tobymao/sqlglot#7301": "select 1 -- */ \r, secret('a', 'b')",
    "tobymao/sqlglot#7205": "/* /*not*/*/ select 1",
    "sdebruyn/fabric-dw-mcp-cli#240": "\ufeffwith x as (select 1) merge into t using x on a when matched then delete",
    "riii111/sabiql#723": "select `http_request`(conn => 'c')",
    # Python of the model's own.
    "learn.microsoft.com: code interpreter tools": 'select python_exec("print(1)")',
    "learn.microsoft.com: code interpreter tools, in full": "select `system`.`ai`.`python_exec`('print(1)')",
    "rocketride-org/rocketride-server#2087": "select * into t from u where a = 1",
    "AgamiAI/agami-core#395": "from t |> where java_method('java.lang.Thread', 'sleep', 1000L) is null",
}

EXTERNAL = {
    "tobymao/sqlglot#4691": "select * from stream read_files('s3://bucket/path')",
    "SarthakJariwala/sqlsaber#184": "select * from '/etc/passwd'",
    "Yamato-Security/senrigan#46": "select * from t join text.`/etc/passwd` p on true",
}


@pytest.mark.parametrize("text", FINE.values(), ids=FINE.keys())
def test_a_query_that_a_parser_stumbled_over_is_fine(text: str) -> None:
    check_read_only(text, allows_external=False)


@pytest.mark.parametrize("text", NEVER.values(), ids=NEVER.keys())
def test_what_other_guards_let_through_is_refused(text: str) -> None:
    with pytest.raises(NotReadOnlyError):
        check_read_only(text, allows_external=True)


@pytest.mark.parametrize("text", EXTERNAL.values(), ids=EXTERNAL.keys())
def test_files_that_other_guards_let_through_are_refused(text: str) -> None:
    with pytest.raises(NotReadOnlyError):
        check_read_only(text, allows_external=False)
