-- needs: clock, number
-- Tells the time. Reads only.
--
-- KEYS  1 P clock
-- Returns { the frontier's time, the server's own clock, the time when the generation began }, in ms since 1970.
-- Stays true: everything.
--
-- ARGV  none

return { now_ms(), wall_ms(), as_number(redis.call('HGET', KEYS[1], 'since')) }
