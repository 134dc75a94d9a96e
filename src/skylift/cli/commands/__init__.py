"""One file per command. Each says what it does and leaves the doing to the files beside this folder."""
