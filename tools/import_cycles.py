"""Circles among our modules' imports, those inside functions and for types alone counted too.

    python -m tools.import_cycles

A circle that is only walked late, or only by a type checker, is a circle all the same to whoever
reads one of its files. import-linter's layers leave room for circles within one layer; this does
not.
"""

import sys
from collections.abc import Iterable

import grimp
import networkx

PACKAGES = ("server", "router", "adapters", "loralloy_client")


def circles(imports: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The circles of a graph of imports, each as its modules in alphabetical order.

    Args:
        imports: pairs of an importing module and what it imports.
    """
    graph = networkx.DiGraph(imports)
    rings = networkx.strongly_connected_components(graph)
    return sorted(sorted(ring) for ring in rings if len(ring) > 1)


def main() -> int:
    """Print each circle on a line; returns 1 if there is one."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    modules = sorted(graph.modules)
    found = circles(
        (module, imported)
        for module in modules
        for imported in sorted(graph.find_modules_directly_imported_by(module))
    )
    for ring in found:
        sys.stdout.write(f"a circle of imports: {', '.join(ring)}\n")
    sys.stdout.write(f"{len(modules)} modules, {len(found)} circles of imports\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
