"""Operating parts: settings, logs, metrics, service notification, fault points and the private server."""
