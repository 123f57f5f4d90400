"""Every edge to the outside: Kafka, files, the DuckDB history, webhooks, codecs."""
