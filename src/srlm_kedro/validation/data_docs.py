"""Writes validation results as one HTML page that needs no network.

Great Expectations' own page loads fifteen scripts and styles from other servers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from srlm_kedro.display.safe_text import render_page
from srlm_kedro.validation.wording import found_in_words, limits_in_words

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ title }}</title><style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem;
  padding: 0 1rem; color: #1c2733; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
table { border-collapse: collapse; width: 100% } code { font-size: .85em }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem .4rem 0;
  border-bottom: 1px solid #dde3ea }
th { font-weight: 600; color: #51606f } .small { color: #51606f; font-size: .87em }
.passed { color: #1a7f37 } .critical { color: #b42318 } .warning { color: #9a6700 }
.skipped { color: #51606f } .mark { font-weight: 600; white-space: nowrap }
</style></head><body>
<h1>{{ title }}</h1>
<p class="small">Expectations checked by Great Expectations. A critical failure stops the run
before training; a warning is logged and counted.</p>
{% for part in parts %}
<h2>{{ part.name }}: <span class="{{ part.state }}">{{ part.verdict }}</span></h2>
<table><thead><tr><th>State</th><th>Expectation</th><th>Found</th><th>Limit</th></tr></thead>
<tbody>{% for row in part.rows %}<tr>
<td class="mark {{ row.state }}">{{ row.mark }}</td>
<td>{{ row.description }}<br><span class="small"><code>{{ row.type }}</code>
 {{ row.table }}{% if row.column %} . {{ row.column }}{% endif %}</span>
{% if row.advice %}<br><span class="small">{{ row.advice }}</span>{% endif %}</td>
<td>{{ row.found }}{% for text in row.examples %}<br><code>{{ text }}</code>{% endfor %}</td>
<td>{{ row.limit }}</td></tr>{% endfor %}</tbody></table>
{% endfor %}</body></html>
"""


def build_data_docs(title: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The page for validation results, as `validate` returns them."""
    return render_page(_PAGE, title=title, parts=[_part(result) for result in results])


def _part(result: Mapping[str, Any]) -> dict[str, Any]:
    critical, warning = result["failed_critical"], result["failed_warning"]
    failed = [f"{critical} critical"] * bool(critical) + [f"{warning} warning"] * bool(warning)
    state = "critical" if critical else "warning" if warning else "passed"
    verdict = f"{' and '.join(failed)} failed" if failed else "passed"
    return {
        "name": result["name"],
        "state": state,
        "verdict": verdict,
        "rows": [_row(item) for item in result["results"]],
    }


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    states = {True: "passed", False: item["severity"], None: "skipped"}
    marks = {True: "passed", False: f"{item['severity']} failure", None: "skipped"}
    return {
        **item,
        "state": states[item["success"]],
        "mark": marks[item["success"]],
        "found": _found(item),
        "examples": item["examples"] if item["success"] is False else [],
        "advice": item["notes"] if item["success"] is False else "",
        "limit": limits_in_words(item["limits"]).removeprefix("limit "),
    }


def _found(item: Mapping[str, Any]) -> str:
    if item["error"] or item["observed"] is not None or item["success"] is False:
        return found_in_words({**item, "examples": []})
    return f"all of {item['rows']} rows" if not item["unexpected"] else found_in_words(item)
