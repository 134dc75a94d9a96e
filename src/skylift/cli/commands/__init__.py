"""One file per command. Each declares its options and calls the files next to this folder."""
