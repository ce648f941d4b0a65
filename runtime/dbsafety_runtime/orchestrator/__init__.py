"""The orchestrator: detects failing services, fixes what it may, verifies, escalates the rest, audits every step."""
