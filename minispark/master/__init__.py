"""L3, the master: wires the scheduling core to its queue, journal, worker sessions and HTTP API."""
