"""Files, folders and names that somebody made to deceive, to stop or to take over: docs/security.md says what must hold."""
