"""A process that asks and tells until it is killed; it says what it was promised, one line each."""

from __future__ import annotations

import sys
from pathlib import Path

from bayesmix.campaign.ledger import Changed, Ledger
from bayesmix.campaign.trials import Job


def main(path: str, asks: int) -> None:
    """Ask so many times (0: for ever), telling every second trial."""
    ledger, count = Ledger(Path(path)), 0
    print("ready", flush=True)
    while asks == 0 or count < asks:
        state = ledger.state()
        try:
            (trial,) = ledger.ask(
                [Job({"web": 1.0}, 1e8, 2e9, 1.2e18, seed=state.next_number)], state.version
            )
        except Changed:
            continue
        print("asked", trial.id, flush=True)
        count += 1
        if trial.number % 2:
            ledger.end(trial.id, "told", {"losses": {"t": float(trial.number)}})
            print("told", trial.id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
