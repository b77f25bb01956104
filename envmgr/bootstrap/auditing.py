"""The audit trail: put together from the settings and the state folder."""

from __future__ import annotations

from envmgr.config.settings import Settings
from envmgr.drivers.notary import FileNotary
from envmgr.runtime.supervisor import Supervisor
from envmgr.services.audit import keeping, sealing
from envmgr.services.audit.keeping import Keeping
from envmgr.services.audit.recording import AuditedStore
from envmgr.services.audit.sealing import Seals
from envmgr.services.audit.trail import Trail
from envmgr.store.audit_files import AuditFiles


async def trail(store: AuditedStore, supervisor: Supervisor, settings: Settings) -> Trail:
    """Where it was left; nothing runs yet."""
    folder = supervisor.layout.state_dir / "audit"
    seals = Seals(
        store,
        AuditFiles(folder, log=supervisor.layout.state_dir / "daemon.log"),
        FileNotary(folder),
        now=supervisor.systems.now,
        instance=supervisor.instance,
        terms=sealing.Terms(period_s=settings.audit.seal_s, rows=settings.audit.seal_rows),
    )
    await seals.open()
    terms = keeping.Terms(
        days=settings.audit.keep_days, rows=settings.audit.keep_rows, files_days=settings.audit.files_days
    )
    return Trail(recorder=store, seals=seals, keeping=Keeping(seals, terms))
