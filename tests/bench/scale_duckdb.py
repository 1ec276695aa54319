"""DuckDB as a contestant: the measures of scale.toml as SQL, and whether two tables of them are the same.

    scale_duckdb.py run SHOP DATES MEMORY THREADS
    scale_duckdb.py same OURS THEIRS
"""

import sys
from datetime import datetime, timezone
from pathlib import Path

DAY = 86_400_000

SQL = """
COPY (
WITH known AS (
  SELECT {by}, kind, epoch_ms("time") AS t, amount, discount FROM read_parquet('{events}') {dates}
  WHERE epoch_ms("time") <= {now}
),
days AS (
  SELECT {by}, day - lag(day) OVER (PARTITION BY {by} ORDER BY day) AS gap
  FROM (SELECT DISTINCT {by}, t // {day} AS day FROM known WHERE kind = 'purchase' AND t > {now} - 91 * {day})
),
gaps AS (
  SELECT {by}, avg(gap) AS gap_mean, stddev_pop(gap) AS gap_std, max(gap) AS gap_max FROM days GROUP BY {by}
),
sums AS (
  SELECT {by},
    ({now} - max(t) FILTER (kind = 'purchase')) / {day}::DOUBLE AS recency,
    ({now} - min(t) FILTER (kind = 'purchase')) / {day}::DOUBLE AS tenure,
    ({now} - max(t) FILTER (kind = 'session')) / {day}::DOUBLE AS session_recency,
    count(*) FILTER (kind = 'purchase' AND t > {now} - 28 * {day}) AS lines_28d,
    count(*) FILTER (kind = 'purchase' AND t > {now} - 91 * {day}) AS lines_91d,
    coalesce(sum(amount) FILTER (kind = 'purchase' AND t > {now} - 28 * {day}), 0) AS spend_28d,
    coalesce(sum(amount) FILTER (kind = 'purchase' AND t > {now} - 91 * {day}), 0) AS spend_91d,
    coalesce(sum(amount) FILTER (kind = 'purchase'), 0) AS spend_all,
    coalesce(sum(CASE kind WHEN 'purchase' THEN amount WHEN 'return' THEN -amount END)
      FILTER (t > {now} - 91 * {day}), 0) AS net_spend_91d,
    avg(amount) FILTER (kind = 'purchase' AND t > {now} - 91 * {day}) AS mean_line_91d,
    max(amount) FILTER (kind = 'purchase' AND t > {now} - 91 * {day}) AS max_line_91d,
    sum(amount * pow(2, (t - {now}) / ({day} * 14.0))) FILTER (kind = 'purchase') AS decayed_spend_14d,
    sum(amount * pow(2, (t - {now}) / ({day} * 28.0))) FILTER (kind = 'purchase') AS decayed_spend_28d,
    sum(amount * pow(2, (t - {now}) / ({day} * 91.0))) FILTER (kind = 'purchase') AS decayed_spend_91d,
    sum(pow(2, (t - {now}) / ({day} * 91.0))) FILTER (kind = 'purchase') AS decayed_lines_91d,
    sum(discount) FILTER (kind = 'purchase' AND t > {now} - 91 * {day}) AS off,
    coalesce(sum(amount) FILTER (kind = 'return' AND t > {now} - 91 * {day}), 0) AS returns_91d,
    count(*) FILTER (kind = 'session' AND t > {now} - 28 * {day}) AS sessions_28d,
    count(*) FILTER (kind = 'view' AND t > {now} - 28 * {day}) AS views_28d,
    count(*) FILTER (kind = 'cart' AND t > {now} - 28 * {day}) AS carts_28d,
    count(*) FILTER (kind = 'coupon' AND t > {now} - 91 * {day}) AS coupons_91d
  FROM known GROUP BY {by}
)
SELECT sums.* EXCLUDE (off), off / (off + spend_91d) AS discount_share_91d, gap_mean, gap_std, gap_max
FROM sums LEFT JOIN gaps USING ({by})
) TO '{out}' (FORMAT parquet)
"""


def execute(shop, dates, memory, threads):
    import duckdb

    shop = Path(shop)
    at = [int(datetime.fromisoformat(date).replace(tzinfo=timezone.utc).timestamp() * 1000) - 1 for date in dates.split(",")]
    # A date alone is a constant, which is faster than a table of one.
    one = {"by": "member", "now": at[0], "dates": ""}
    many = {"by": "member, now", "now": "now", "dates": f", (VALUES {', '.join(f'({ms})' for ms in at)}) AS dates(now)"}
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}; SET memory_limit = '{memory}MiB'; SET preserve_insertion_order = false")
    connection.execute(f"SET temp_directory = '{shop / 'duckdb.tmp'}'; SET TimeZone = 'UTC'")
    words = {"events": shop / "events/*.parquet", "day": f"{DAY}::BIGINT", "out": shop / "duckdb.parquet"}
    connection.execute(SQL.format(**words, **(one if len(at) == 1 else many)))


def same(ours, theirs):
    """Ours has 32-bit features; an amount of no purchase is 0 in both."""
    import numpy as np
    import pyarrow.parquet as pq

    ours, theirs = pq.read_table(ours).to_pandas(), pq.read_table(theirs).to_pandas()
    ours["now"] = ours["as_of"].astype("datetime64[ms, UTC]").astype("int64") - 1
    if "now" not in theirs:
        theirs["now"] = ours["now"].iloc[0]
    ours, theirs = (rows.sort_values(["member", "now"]).reset_index(drop=True) for rows in (ours, theirs))
    for key in ("member", "now"):
        assert list(ours[key]) == list(theirs[key]), f"{len(ours)} and {len(theirs)} rows"
    compared = [name for name in theirs.columns if name not in ("member", "now")]
    for name in compared:
        a, b = ours[name].to_numpy(float), theirs[name].to_numpy(float)
        if name.startswith("decayed"):
            b = np.nan_to_num(b)
        near = np.isclose(a, b, rtol=1e-5, atol=1e-5, equal_nan=True)
        assert near.all(), f"{name}: {int((~near).sum())} of {len(a)} differ, first {a[~near][:3]} {b[~near][:3]}"
    print(f"{len(compared)} measures of {len(ours)} rows agree")


{"run": execute, "same": same}[sys.argv[1]](*sys.argv[2:])
