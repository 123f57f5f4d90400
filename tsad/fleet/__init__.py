"""Fleets of like machines: one autoencoder a node, trained together, and every node judged against its siblings.

See `docs/node-fleet.md`. Nothing here reads files or clocks; torch is imported by the modules that train.
"""
