#!/usr/bin/env python3
"""Writes what Jinja makes of published chat templates: published.py DIRECTORY

Beside each <name>.jinja of the directory comes <name>.expected.json, the text that Jinja renders for
each of conversations.json, or that it refuses it. With HEARTH_TEMPLATE_DIR=DIRECTORY,
tests/runtime/published_templates_test.cpp compares. The templates have licences of their own, so
that none is here.
"""
import json
import pathlib
import sys

from make import HERE, render


def main():
    conversations = json.loads((HERE / "conversations.json").read_text())
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
        source = path.read_text()
        results = {}
        for conversation in conversations:
            try:
                results[conversation["name"]] = render(source, conversation["variables"])
            except Exception:
                results[conversation["name"]] = None
        path.with_suffix(".expected.json").write_text(json.dumps(results, ensure_ascii=False))


main()
