"""The rules between the packages, read from the source: who may import whom, what is pure, how large a file may be."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("collector", "shipper", "spool")

PURE = [
    "collector.aggregate",
    "collector.known",
    "collector.admin.busiest",
    "collector.carried",
    "collector.config",
    "collector.admin.console",
    "collector.culprits",
    "collector.distinct",
    "collector.explain",
    "collector.finished",
    "collector.workers.merge",
    "collector.notices",
    "collector.workers.parcel",
    "collector.rules",
    "collector.selfmetrics",
    "collector.workers.share",
    "collector.sketch",
    "collector.statsd",
    "collector.tags",
    "collector.tally",
    "collector.window",
    "shipper.account",
    "shipper.backoff",
    "shipper.budget",
    "shipper.curl",
    "shipper.deadline",
    "shipper.exchange",
    "shipper.lanes",
    "shipper.outcome",
    "shipper.pace",
    "shipper.parts",
    "shipper.protocols",
    "shipper.protocols.answer",
    "shipper.protocols.datadog",
    "shipper.protocols.graphite",
    "shipper.protocols.holdfast",
    "shipper.protocols.influx",
    "shipper.protocols.otlp",
    "shipper.protocols.prometheus",
    "shipper.protocols.traits",
    "shipper.protocols.webhook",
    "shipper.rewritten",
    "shipper.tcpinfo",
    "shipper.trouble",
    "shipper.receiver.answer",
    "shipper.receiver.chart_page",
    "shipper.receiver.curves",
    "shipper.receiver.hosts_page",
    "shipper.receiver.intake",
    "shipper.receiver.page",
    "shipper.receiver.question",
    "shipper.receiver.report",
    "shipper.receiver.request",
    "shipper.receiver.session",
    "shipper.receiver.standing",
    "spool.accounts",
    "spool.batch",
    "spool.batch_sql",
    "spool.carve",
    "spool.errors",
    "spool.explain",
    "spool.hangfile",
    "spool.health",
    "spool.human",
    "spool.ledger",
    "spool.manual",
    "spool.lineprotocol",
    "spool.markup",
    "spool.plot",
    "spool.pointrows",
    "spool.readings",
    "spool.retention",
    "spool.series",
    "spool.silence",
    "spool.ticks",
    "spool.timewords",
    "spool.web.asked",
    "spool.web.page",
]
"""Modules that decide and have no effect. A new pure module is added here."""

IMPURE = {"socket", "ssl", "select", "sqlite3", "time", "random", "secrets", "signal", "logging", "threading"} | {
    *("os", "subprocess", "requests", "urllib3", "shutil", "tempfile", "asyncio", "multiprocessing")
}
"""What a pure module must be given as an argument: clocks, chance, files, sockets, threads."""

MAY_LOG = [
    "collector.cli",
    "collector.collect",
    "collector.run",
    "shipper.cli",
    "shipper.drain",
    "shipper.checkin",
    "shipper.receiver.cli",
    "shipper.receiver.app",
    "spool.cli",
    "spool.commands.watchdog",
    "spool.logfmt",
]
"""The shells, the hubs, and what gives the lines their form."""

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "types", "core", "misc"}
FORBIDDEN_ENDINGS = ("Manager", "Handler", "Service", "Processor", "Helper")
LONGEST_FILE = 400


def sources(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Module:
    """One source file: its tree, and what it imports, each with the node that does so."""

    def __init__(self, path):
        self.path, self.name = path, name_of(path)
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.tree = ast.parse(self.text, str(path))
        self.nodes = list(ast.walk(self.tree))
        self.imports = [(imported, node) for node in self.nodes for imported in _imported(node)]

    def imported(self):
        return {imported for imported, _ in self.imports}


def _imported(node):
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        # `from collector import statsd` may name a module of the package: both readings are kept.
        return [node.module or ".", *(f"{node.module}.{each.name}" for each in node.names)]
    return []


MODULES = {module.name: module for module in map(Module, sources(*PACKAGES))}


def violations(rule):
    """What `rule(module)` yields for all modules, as lines that name the file."""
    return [f"{module.path.relative_to(ROOT)}: {each}" for module in MODULES.values() for each in rule(module)]


def package(name):
    return name.partition(".")[0]


def test_there_is_source_to_look_at():
    assert {package(name) for name in MODULES} == set(PACKAGES)
    assert len(MODULES) > 30


def test_collector_and_shipper_know_spool_and_spool_knows_neither():
    allowed = {"collector": {"collector", "spool"}, "shipper": {"shipper", "spool"}, "spool": {"spool"}}

    def rule(module):
        seen = {package(each) for each in module.imported()} & set(PACKAGES)
        yield from sorted(seen - allowed[package(module.name)])

    assert violations(rule) == []


def test_every_import_is_absolute():
    assert violations(lambda module: [each for each in module.imported() if each.startswith(".")]) == []


def test_no_module_imports_itself_through_others():
    def ours(name):
        return {each for each in MODULES[name].imported() if each in MODULES and each != name}

    finished, unfinished = set(), []

    def visit(name):
        assert name not in unfinished, " -> ".join([*unfinished[unfinished.index(name) :], name])
        if name not in finished:
            unfinished.append(name)
            for each in sorted(ours(name)):
                # A package's docstring module imports nothing, so a module may name its own package.
                if not name.startswith(f"{each}."):
                    visit(each)
            unfinished.pop()
            finished.add(name)

    for name in MODULES:
        visit(name)


def test_the_list_of_pure_modules_is_true():
    assert [name for name in PURE if name not in MODULES] == []


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_touches_no_clock_chance_file_socket_or_thread(name):
    imported = MODULES[name].imported()
    assert sorted(each for each in imported if package(each) in IMPURE) == []
    opened = [
        node.lineno
        for node in MODULES[name].nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "print")
    ]
    assert opened == []


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_builds_on_pure_modules_only(name):
    ours = {each for each in MODULES[name].imported() if each in MODULES and each not in PACKAGES}
    assert sorted(ours - set(PURE) - {"spool.config"}) == []


def test_only_shells_and_hubs_log():
    assert violations(lambda module: [] if module.name in MAY_LOG else module.imported() & {"logging"}) == []


def test_nobody_imports_a_shell():
    """But the plugin, which is another door to one."""

    def rule(module):
        for each in module.imported() & {"collector.cli", "shipper.cli", "shipper.receiver.cli", "spool.cli"}:
            if module.name not in (each, "spool.sqlite_utils_plugin"):
                yield each

    assert violations(rule) == []


def test_requests_is_known_to_one_file_and_urllib3_to_the_connections_below_it():
    def rule(module):
        for each in module.imported():
            if package(each) == "requests" and module.name != "shipper.transport":
                yield each
            if package(each) == "urllib3" and module.name not in ("shipper.transport", "shipper.connections"):
                yield each

    assert violations(rule) == []


def test_sql_is_spoken_in_spool_and_by_the_receivers_own_database_only():
    """Elsewhere SQLite may be asked for its version."""

    def rule(module):
        if package(module.name) == "spool" or module.name in ("shipper.receiver.store", "shipper.receiver.reader"):
            return
        for node in module.nodes:
            if isinstance(node, ast.ImportFrom) and node.module == "sqlite3":
                yield f"{node.lineno}: from sqlite3"
            asked = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if asked.startswith("sqlite3.") and not asked.startswith("sqlite3.sqlite_version"):
                yield f"{node.lineno}: {asked}"

    assert violations(rule) == []


def test_an_import_inside_a_function_says_why():
    def rule(module):
        for function in module.nodes:
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom) and not _says_why(module, node.lineno):
                    yield f"{node.lineno}: {module.lines[node.lineno - 1].strip()}"

    assert violations(rule) == []


def _says_why(module, line_number):
    """A comment on the line, which is more than a code for the linter, or above it or its neighbouring imports."""
    comment = module.lines[line_number - 1].partition("#")[2]
    beside = re.sub(r"^ ?noqa(: [A-Z0-9, ]+)?", "", comment).strip("# -")
    above = line_number - 2
    while module.lines[above].strip().startswith(("import ", "from ")):
        above -= 1
    return bool(beside) or module.lines[above].strip().startswith("# ")


def test_no_file_is_longer_than_a_reader_can_hold():
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in sources(*PACKAGES, "tests", "deploy")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    ]
    assert long == []


def test_no_name_says_nothing():
    named = [path for path in sources(*PACKAGES, "deploy") if FORBIDDEN_NAMES & {path.stem, path.parent.name}]
    assert named == []

    def rule(module):
        for node in module.nodes:
            if isinstance(node, ast.ClassDef) and node.name.endswith(FORBIDDEN_ENDINGS):
                yield f"{node.lineno}: class {node.name}"

    assert violations(rule) == []


def test_every_module_and_every_public_function_says_what_it_is():
    def rule(module):
        if not ast.get_docstring(module.tree):
            yield "no docstring"
        for node in module.tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                yield f"{node.lineno}: {node.name} has no docstring"

    assert violations(rule) == []


def test_no_exception_is_caught_unnamed():
    def rule(module):
        return [f"{n.lineno}: bare except" for n in module.nodes if isinstance(n, ast.ExceptHandler) and not n.type]

    assert violations(rule) == []


def test_nothing_is_pickled_and_nothing_is_global_or_abstract():
    def rule(module):
        yield from module.imported() & {"pickle", "marshal", "shelve", "dill", "abc"}
        yield from (f"{node.lineno}: global" for node in module.nodes if isinstance(node, ast.Global))

    assert violations(rule) == []
