"""The history in DuckDB: positions, samples with their scores, alarms, dead letters, snapshots, rollups."""
