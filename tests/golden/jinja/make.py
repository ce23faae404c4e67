#!/usr/bin/env python3
"""Fills in cases.json what Jinja (python3-jinja2), set up as for chat templates, makes of each case.

A case is a template, as text or as a file beside this one, and variables. What Jinja refuses, at
parsing or at rendering, is expected to be refused.
"""
import datetime
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.sandbox

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2025, 7, 9, 8, 5, 3)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def render(source, variables):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = NOW.strftime
    return environment.from_string(source).render(**variables)


def main():
    path = HERE / "cases.json"
    everything = json.loads(path.read_text())
    for case in everything["cases"]:
        case.pop("expected", None)
        case.pop("refused", None)
        source = case.get("template") or (HERE / case["file"]).read_text()
        variables = everything["variables"].get(case.get("with"), {}) | case.get("variables", {})
        try:
            case["expected"] = render(source, variables)
        except Exception:
            case["refused"] = True
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in everything["cases"])
    variables = json.dumps(everything["variables"], ensure_ascii=False)
    path.write_text(f'{{"variables": {variables},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
