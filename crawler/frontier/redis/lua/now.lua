-- needs: clock
-- Tells the time. Reads only.
--
-- KEYS  1 P clock
-- Returns { the frontier's time, the server's own clock }, both in ms since 1970.
-- Stays true: everything.
--
-- ARGV  none

return { now_ms(), wall_ms() }
