"""The Grafana dashboard that is shipped, and what it asks for."""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[2] / "deploy/destinations/grafana.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
QUERIES: list[str] = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
