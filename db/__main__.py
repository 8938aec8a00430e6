"""Looks after the store: `python -m db --help`. STUDIO_DATA and DATABASE_URL decide which one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import closing
from pathlib import Path

from db.backup import backup
from db.check import check
from db.export import export
from db.restore import restore
from db.session import Store, StoreError
from db.status import status


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 1 where it found or met something wrong."""
    options = _parser().parse_args(arguments)
    data = Path(os.environ.get("STUDIO_DATA") or "data").resolve()
    try:
        return options.run(options, data)
    except StoreError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{options.command}: {error.filename}: {error.strerror}.", file=sys.stderr)
    return 1


def _upgrade(_: argparse.Namespace, data: Path) -> int:
    Store.open(data).close()
    return 0


def _check(_: argparse.Namespace, data: Path) -> int:
    found = 0
    with closing(Store.existing(data)) as store:
        for finding in check(store):
            print(finding, flush=True)
            found += 1
    print(f"{found} found" if found else "nothing is missing, altered or unknown")
    return 1 if found else 0


def _status(_: argparse.Namespace, data: Path) -> int:
    with closing(Store.existing(data)) as store, store.read() as session:
        print(json.dumps(status(session)))
    return 0


def _backup(options: argparse.Namespace, data: Path) -> int:
    with closing(Store.existing(data)) as store:
        broken = backup(store, data, options.file)
    for name in broken:
        print(f"not in the backup, since it is missing or altered: {name}", file=sys.stderr)
    return 1 if broken else 0


def _restore(options: argparse.Namespace, data: Path) -> int:
    with closing(Store.at(data)) as store:
        store.check_place()
        restore(store, data, options.file, options.force)
    return 0


def _export(options: argparse.Namespace, data: Path) -> int:
    with closing(Store.existing(data)) as store, store.read() as session:
        print(json.dumps(export(session, options.folder)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m db", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run, told: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=told, description=told)
        command.set_defaults(run=run)
        return command

    add("upgrade", _upgrade, "make the tables, or bring them up to date")
    add("check", _check, "find rows whose artifacts are missing or altered, and artifacts that no row knows")
    add("status", _status, "rows of each table and the state of each round, as JSON")
    command = add("backup", _backup, "write the database and its artifacts to one tar file, also under load")
    command.add_argument("file", type=Path)
    command = add("restore", _restore, "put a backup into an empty store; nothing else may use it meanwhile")
    command.add_argument("file", type=Path)
    command.add_argument("--force", action="store_true", help="replace the rows of a store that is not empty")
    command = add("export", _export, "write every table as JSON lines to a new folder, without logins")
    command.add_argument("folder", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
