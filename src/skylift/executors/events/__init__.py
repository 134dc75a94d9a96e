"""News of attempts that comes by itself: the ``Source``, and the queue of EventBridge events."""
