"""Which services of a template take part: those that are enabled and whose profile is chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from envmgr.config.nodes import leaves
from envmgr.config.problems import Path, Problem, did_you_mean, dotted
from envmgr.config.templates.places import Places
from envmgr.config.templates.schema import Document
from envmgr.config.templates.service_schema import Edge, Service
from envmgr.config.templates.styles import Style, style
from envmgr.core.placeholders import references
from envmgr.errors import UsageError


def profiles_of(document: Document, name: str) -> tuple[str, ...]:
    """Profiles that name a service, in either of the two places."""
    above = [profile for profile, names in document.profiles.items() if name in names]
    return tuple(dict.fromkeys([*document.services[name].profiles, *above]))


def all_profiles(document: Document) -> tuple[str, ...]:
    """Every profile of the template."""
    own = [profile for service in document.services.values() for profile in service.profiles]
    return tuple(dict.fromkeys([*document.profiles, *own]))


def enabled(document: Document, chosen: Collection[str]) -> dict[str, Service]:
    """The services that take part."""
    out = left_out(document, chosen)
    return {name: service for name, service in document.services.items() if name not in out}


def left_out(document: Document, chosen: Collection[str]) -> dict[str, tuple[str, str]]:
    """The other services: why they do not take part, and what to do about it."""
    found: dict[str, tuple[str, str]] = {}
    for name, service in document.services.items():
        profiles = profiles_of(document, name)
        if service.disabled:
            found[name] = ("which is disabled", "Enable it")
        elif profiles and not set(profiles).intersection(chosen):
            words = f"profile{'s' * (len(profiles) > 1)} {', '.join(profiles)}"
            found[name] = (f"which is only in {words}", f"Choose it with --profile {profiles[0]}")
    return found


def refuse_unknown(document: Document, chosen: Collection[str]) -> None:
    """Raise UsageError for a profile that the template does not have."""
    known = all_profiles(document)
    for profile in chosen:
        if profile not in known:
            hint = did_you_mean(profile, known, among="The template has")
            raise UsageError(f"unknown profile {profile!r}", hint=hint or "The template has no profiles.")


def lint_selection(document: Document, places: Places, chosen: Collection[str] | None) -> Iterator[Problem]:
    """What takes part must not need what does not.

    Args:
        document: The template.
        places: Of its tree.
        chosen: Profiles; None while nobody has chosen: then each is tried by itself, and what fails is a warning.
    """
    for profile, names in document.profiles.items():
        for index, name in enumerate(names):
            if name not in document.services:
                hint = did_you_mean(name, document.services, among="Services")
                path = places.item(("profiles", profile), index)
                yield places.value(path, f"profile {profile!r} names unknown service {name!r}", hint)
    if chosen is not None:
        yield from _needs(document, places, chosen)
        return
    told = set()
    for problem in _needs(document, places, ()):
        told.add(problem.mark)
        yield problem
    for profile in all_profiles(document):
        for problem in _needs(document, places, (profile,)):
            if problem.mark not in told:
                told.add(problem.mark)
                message = f"with profile {profile!r} only: {problem.message}"
                yield Problem(
                    mark=problem.mark, path=problem.path, message=message, hint=problem.hint, is_warning=True
                )


def _needs(document: Document, places: Places, chosen: Collection[str]) -> Iterator[Problem]:
    out = left_out(document, chosen)
    if not out:
        return
    yield from _edges(("agent",), document.agent.depends_on, out, places)
    for name, service in document.services.items():
        if name not in out:
            yield from _edges(("services", name), service.depends_on, out, places)
    yield from _references(out, places)


def _edges(
    at: Path, edges: Mapping[str, Edge], out: Mapping[str, tuple[str, str]], places: Places
) -> Iterator[Problem]:
    for name, edge in edges.items():
        if name in out and edge.required:
            why, hint = out[name]
            path = places.entry((*at, "depends_on"), name)
            yield places.key(
                path, f"{dotted(at)} depends on {name}, {why}", f"{hint}, or write `required: false`."
            )


def _references(out: Mapping[str, tuple[str, str]], places: Places) -> Iterator[Problem]:
    """A port of a service that is left out has no number."""
    for path, leaf in leaves(places.tree):
        how = style(path)
        if how not in (Style.TEXT, Style.SHELL) or (path[0] == "services" and path[1] in out):
            continue
        for reference in references(leaf.text, shell=how is Style.SHELL):
            service = reference.split(".")[1]
            if reference.startswith("services.") and service in out:
                why, hint = out[service]
                message = f"{dotted(path)}: ${{{reference}}} belongs to {service}, {why}"
                yield places.value(path, message, f"{hint}, or leave the reference out.")
