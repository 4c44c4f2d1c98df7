"""What people read during a run and after it."""
