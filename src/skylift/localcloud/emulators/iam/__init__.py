"""IAM at the emulators: what they know of identities and policies, and what a request to them asks for."""
