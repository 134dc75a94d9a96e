"""The state folder's own certificate authority, and AWS Certificate Manager (``acm``) on top of it."""
