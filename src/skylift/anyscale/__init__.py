"""Anyscale from Airflow: connection, hook, operators, sensor and triggers (docs/anyscale.md)."""

from __future__ import annotations

from skylift.anyscale.hook import AnyscaleHook
from skylift.anyscale.jobs import SubmitAnyscaleJob
from skylift.anyscale.services import AnyscaleServiceSensor, RolloutAnyscaleService

__all__ = ["AnyscaleHook", "AnyscaleServiceSensor", "RolloutAnyscaleService", "SubmitAnyscaleJob"]
