"""The command line `tsad`: the only place that knows the daemon and the evaluation both."""
