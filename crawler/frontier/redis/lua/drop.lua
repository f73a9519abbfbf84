-- needs: counters
-- dead → dropped: delete dead letters. Their URLs stay known.
--
-- KEYS  1 J dead
-- ARGV  1 J   2 epoch   then ids, at least one
-- Returns the number dropped, or the error GONE.
-- Stays true: a letter is dropped once; it counted as finished when it died, so `admitted` and `finished` stay.

local J, epoch = ARGV[1], ARGV[2]
if gone(J .. 'stats', epoch) then return redis.error_reply('GONE') end
local dropped = redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
count(J .. 'stats', { dead = -dropped, dropped = dropped })
return dropped
