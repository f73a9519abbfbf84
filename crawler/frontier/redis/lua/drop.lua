-- needs: counters
-- dead → dropped: throw dead letters away. Their URLs stay known.
--
-- KEYS  1 J dead
-- ARGV  1 J   2 epoch   then ids, at least one
-- Returns the number dropped, or the error GONE.
-- Stays true: a letter is dropped once; it ended when it died, so the counters that prove the end stay.

local J, epoch = ARGV[1], ARGV[2]
if gone(J .. 'stats', epoch) then return redis.error_reply('GONE') end
local dropped = redis.call('HDEL', KEYS[1], unpack(ARGV, 3))
count(J .. 'stats', { dead = -dropped, dropped = dropped })
return dropped
