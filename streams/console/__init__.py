"""The operators' console in the browser, on the daemon's HTTP door."""
