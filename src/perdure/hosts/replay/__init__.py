"""What hosts share whose engine keeps histories and replays them: a run's log, acceptance by records, and lives."""
