"""Print the lowest versions of aion's dependencies that pyproject.toml allows, as constraints for pip."""

import re
import sys
import tomllib
from pathlib import Path

LOWER_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[.*\])?>=([0-9.]+)")

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for dependency in project["dependencies"]:
    found = LOWER_BOUND.match(dependency)
    if found is None:
        sys.exit(f"{dependency!r} has no lower bound")
    sys.stdout.write(f"{found[1]}=={found[2]}\n")
