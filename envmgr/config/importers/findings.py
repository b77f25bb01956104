"""What of an imported file comes out otherwise than it was said there, line by line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from envmgr.config.importers.asking import printable
from envmgr.config.problems import Mark


class Severity(StrEnum):
    """What becomes of it. Only `changed` keeps what the file is for."""

    CHANGED = "changed"
    DROPPED = "dropped"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        key: Where in the imported file, dotted.
        service: Service of the template that it is about; empty for the file as a whole.
        says: What happens instead.
    """

    mark: Mark
    severity: Severity
    key: str
    says: str
    service: str = ""

    def __str__(self) -> str:
        return f"{self.mark.file}:{self.mark.line}: {self.severity}: {self.key}: {self.says}"


class Report:
    """Findings of one import; each is told once."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self._services: dict[str, str] = {}

    def about(self, key: str, service: str) -> None:
        """Findings at this key and below are about a service of the template."""
        self._services[printable(key)] = service

    def changed(self, mark: Mark, key: str, says: str) -> None:
        """It means something else here, and still works."""
        self._add(mark, Severity.CHANGED, key, says)

    def dropped(self, mark: Mark, key: str, says: str) -> None:
        """It is left out, on purpose or because nothing here corresponds to it."""
        self._add(mark, Severity.DROPPED, key, says)

    def unsupported(self, mark: Mark, key: str, says: str) -> None:
        """It cannot be done here, and the project may miss it."""
        self._add(mark, Severity.UNSUPPORTED, key, says)

    def _add(self, mark: Mark, severity: Severity, key: str, says: str) -> None:
        found = Finding(mark=mark, severity=severity, key=printable(key), says=printable(says))
        self._found[found] = None

    def _service(self, key: str) -> str:
        found = [start for start in self._services if key == start or key.startswith(f"{start}.")]
        return self._services[max(found, key=len)] if found else ""

    def findings(self) -> tuple[Finding, ...]:
        """All of them in the order of the files."""
        files = list(dict.fromkeys(finding.mark.file for finding in self._found))
        found = [replace(finding, service=self._service(finding.key)) for finding in self._found]
        return tuple(sorted(found, key=lambda f: (files.index(f.mark.file), f.mark.line, f.mark.column)))
