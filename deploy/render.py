"""supervisord's configuration for the destinations that there are: deploy/supervisord.conf with its places filled in.

    render.py RUN LOGS          writes RUN/supervisord.conf for the configuration in force

deploy/launch.py renders it for a pipeline in the foreground, the systemd unit that deploy/install writes does so before
each start and reload. One shipper per [destination.NAME], a check-in if one of them has a checkin_url, a receiver if
there is a [receiver] table.
"""

import configparser
import io
import os
import sys
from pathlib import Path

from spool.config import Config, check_all, load
from spool.errors import HoldfastError

SHIPPED = Path(__file__).resolve().parent / "supervisord.conf"
CONTROL = "supervisor.sock"


def rendered(config: Config, control: Path, logs: Path) -> str:
    """The text of supervisord.conf. `control` is where its control socket goes, `logs` the folder of all logs."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=None, comment_prefixes=(";",))
    parser.read_string(SHIPPED.read_text(encoding="utf-8").replace("%(here)s/log", literal(logs)))
    pattern = dict(parser["program:shipper-main"])
    parser.remove_section("program:shipper-main")
    for name in config.destinations():
        parser[f"program:shipper-{name}"] = {
            option: value.replace("shipper-main", f"shipper-{name}").replace(
                "--destination main", f"--destination {name}"
            )
            for option, value in pattern.items()
        }
    if "receiver" not in config.tables:
        parser.remove_section("program:receiver")
    if not any(config.tables[f"destination.{each}"].get("checkin_url") for each in config.destinations()):
        parser.remove_section("program:checkin")
    parser["unix_http_server"]["file"] = literal(control)
    parser["supervisorctl"]["serverurl"] = f"unix://{literal(control)}"
    if os.geteuid() == 0:
        parser["supervisord"]["user"] = "root"  # said on purpose: without it supervisord warns at every start
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def literal(path: Path) -> str:
    """A path as supervisord reads it back: it expands %(names)s."""
    return str(path).replace("%", "%%")


def main(run: Path, logs: Path) -> None:
    """Check the configuration and write RUN/supervisord.conf. Raises ConfigError."""
    config = load()
    check_all(config)
    file = run / "supervisord.conf"
    file.with_suffix(".new").write_text(rendered(config, run / CONTROL, logs), encoding="utf-8")
    file.with_suffix(".new").replace(file)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except HoldfastError as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(problem.exit_code) from None
