"""What an anomaly is: detectors, calibration, alarms and the engine. No network, no files, no wall clock."""
