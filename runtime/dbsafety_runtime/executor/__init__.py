"""The task executor: claim, lease, fence, rescue on PostgreSQL."""
