"""Runs many visits at once, and watches over them: worker, supervisor, heartbeat, reaper, listener."""
