#!/usr/bin/env python3
"""Prints the licences of everything that is linked into both programs: a list, then each text with the crates that it is of.

    setup/licences.py

Their licences ask that a copy goes along with programs that are handed on, so `make dist` packs this list.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

PROGRAMS = ["harness", "harness-trainer"]
TEXT = re.compile(r"(UN)?LICEN[CS]E|COPYING|NOTICE|COPYRIGHT", re.IGNORECASE)


def linked(metadata):
    """The packages below both programs, without what only builds or tests need."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    left = [id for id, package in packages.items() if package["source"] is None and package["name"] in PROGRAMS]
    found = set()
    while left:
        id = left.pop()
        if id not in found:
            found.add(id)
            uses = nodes[id]["deps"]
            left += [use["pkg"] for use in uses if any(kind["kind"] is None for kind in use["dep_kinds"])]
    others = [packages[id] for id in found if packages[id]["source"] is not None]
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def texts(package):
    folder = Path(package["manifest_path"]).parent
    named = {folder / package["license_file"]} if package["license_file"] else set()
    found = {path for path in folder.iterdir() if TEXT.match(path.name) and path.is_file()} | named
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in sorted(found)]


def main():
    host = re.search(r"host: (\S+)", subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout)
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host.group(1)]
    packages = linked(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    print(f"harness and harness-trainer are licensed under MIT or Apache-2.0. {len(packages)} crates are linked into them:\n")
    crates_of = {}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"] or "see its text"
        print(f"{name:<44} {licence:<44} {package['repository'] or ''}".rstrip())
        for text in texts(package):
            crates_of.setdefault(text, []).append(name)
    for text, crates in crates_of.items():
        print(f"\n{'=' * 100}\n{', '.join(crates)}\n{'=' * 100}\n\n{text}")


if __name__ == "__main__":
    sys.exit(main())
