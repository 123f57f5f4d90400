"""Results that others have published, file by file, beside our own."""
