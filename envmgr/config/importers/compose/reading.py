"""`compose.yaml` and its relatives: several files, merged by compose's own rules."""

from __future__ import annotations

from envmgr.config.importers.asking import is_nothing
from envmgr.config.importers.compose.converting import convert
from envmgr.config.importers.compose.loading import Project, override_of
from envmgr.config.importers.request import Request
from envmgr.config.nodes import Leaf
from envmgr.config.problems import Mark


def read(request: Request) -> str:
    """Fill the template; returns what the files call the project."""
    project = Project(request.places, request.report, request.declared)
    tree = project.load(request.files)
    override = override_of(request.files[0])
    if override is not None and override not in request.files:
        mark = Mark(request.places.show(request.files[0]), 1, 1)
        says = f"{override.name} lies beside it and is not read; name it as a second file"
        request.report.changed(mark, override.name, says)
    convert(project, tree, request.out, profiles=request.profiles, only=request.services)
    name = tree.get("name")
    if not isinstance(name, Leaf) or is_nothing(name):
        return ""
    return project.variables(name.mark).now(name)
