"""What people see of a run while it goes and when it is over: a line of progress, event files, one page."""
