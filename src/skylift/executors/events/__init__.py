"""Events about attempts: the ``Source``, and the queue that EventBridge fills."""
