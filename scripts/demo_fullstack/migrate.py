"""Apply all migrations, in the order of their names; each bears repetition."""

from pathlib import Path

from shop import database

with database() as rows:
    for path in sorted(Path("migrations").glob("*.sql")):
        rows.run(path.read_text(encoding="utf-8"))
        print(f"applied {path.name}")
