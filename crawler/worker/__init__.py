"""How many stories go on at once, and who watches over them: supervisor, heartbeat, reaper, listener."""
