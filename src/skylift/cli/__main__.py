"""``python -m skylift.cli``: the same as the command ``skylift``. The background process is started this way."""

from skylift.cli.entry import main

main()
