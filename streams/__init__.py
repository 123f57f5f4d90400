"""The daemon: runs the engine on live data, commits what it found, serves its state over HTTP."""
