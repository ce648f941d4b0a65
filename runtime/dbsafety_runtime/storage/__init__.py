"""Storage: the only package of the runtime that connects, begins, commits or rolls back."""
