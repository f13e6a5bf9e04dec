"""Reports of a run for people: a progress line and event files while it trains, one page for all of it."""
