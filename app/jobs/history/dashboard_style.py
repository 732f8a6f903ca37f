"""How the dashboard looks, in light and dark."""

from __future__ import annotations

from typing import Final

COLOURS: Final = {
    "RETRY": "var(--retry)",
    "RETRY_WITH_PARAMS": "var(--params)",
    "ESCALATE_EMAIL": "var(--escalate)",
    "SKIP": "var(--skip)",
    "other": "var(--muted)",
}
"""By decision."""

STYLE: Final = """
:root{--back:#f5f6f8;--card:#fff;--text:#1b1f24;--muted:#5b6470;--line:#d9dee4;--retry:#0b6bcb;--params:#7a4fd0;
--escalate:#c2410c;--skip:#7d8793;--good:#137a3e;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--back:#14171a;--card:#1d2125;--text:#e7eaee;--muted:#9aa4b0;--line:#343a41;
--retry:#5aa9f5;--params:#b193f5;--escalate:#f08a4b;--skip:#8d97a3;--good:#5fc98a;--bad:#f1867e}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.45 system-ui,"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1100px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:26px;margin:0}h2{font-size:17px;margin:0 0 12px}
.sub,.note{color:var(--muted);font-size:13px}.sub{margin:4px 0 16px;overflow-wrap:anywhere}
section,.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px}
section{margin:0 0 16px}section .sub{margin:10px 0 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:0 0 16px}
.tile .name{color:var(--muted);font-size:13px}.tile .value{font-size:28px;font-weight:600}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:16px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th{color:var(--muted);font-weight:600;text-align:left}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th:not(.number),td:not(.number):not(.meter){min-width:80px;max-width:300px}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.meter{width:35%}.meter span{display:block;height:10px;margin-top:5px;border-radius:3px;background:var(--retry)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:6px 18px;margin:0 0 8px;padding:0;font-size:13px}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}
.outcome{font-weight:600;white-space:nowrap}.succeeded{color:var(--good)}.failed{color:var(--bad)}.open{color:var(--muted)}
svg{display:block;width:100%;min-width:640px;height:auto}svg text{fill:var(--muted);font-size:12px;font-family:inherit}
svg .strong{fill:var(--text)}svg .grid{stroke:var(--line)}svg .track{fill:var(--line)}
summary{cursor:pointer;color:var(--muted);font-size:13px;margin-top:8px}
@media print{body{background:#fff}section,.tile{break-inside:avoid}}
"""
