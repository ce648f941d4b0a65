"""Operating parts shared by executor and orchestrator: settings, logs, metrics, notify, fault points, the private server."""
