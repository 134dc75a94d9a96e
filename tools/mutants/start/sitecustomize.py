"""Starts coverage in a test's subprocess, before anything else is imported there."""

import coverage

coverage.process_startup()
