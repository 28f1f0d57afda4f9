"""The bundle's choice against the fastest of all peers, measured side by side in one run: `make bench-peers`."""
